"""A scan's own mesh as truth, against rays cast one by one."""

import dataclasses

import numpy as np
import pytest

from afnet_jax.errors import AFNetError
from afnet_jax.preprocessing import preprocess
from afnet_jax.quality.evaluation import evaluate
from afnet_jax.quality.truth import mesh_truth, read_truth
from afnet_jax.scans.scan import ScanError


def heights_met_by_rays(points, triangles, x, y):
    """(len(x),) greatest z at which the line through (x, y) along z meets a triangle; Möller and Trumbore 1997."""
    a, b, c = (points[triangles[:, k]] for k in range(3))
    side, other = b - a, c - a
    across = np.cross([0.0, 0.0, -1.0], other)
    determinant = np.einsum("ij,ij->i", side, across)
    heights = np.full(len(x), -np.inf)
    for ray, place in enumerate(np.stack([x, y, np.full(len(x), 1e3)], axis=1)):
        from_a = place - a
        u = np.einsum("ij,ij->i", from_a, across) / determinant
        turned = np.cross(from_a, side)
        v, along = -turned[:, 2] / determinant, np.einsum("ij,ij->i", other, turned) / determinant
        met = (u >= 0) & (v >= 0) & (u + v <= 1)
        heights[ray] = (1e3 - along[met]).max(initial=-np.inf)
    return heights


def test_own_mesh_is_what_rays_meet(face):
    scan = face.scan(3.7)
    truth = mesh_truth(scan)
    rows, cols = np.nonzero(np.isfinite(truth.depth))
    some = np.random.default_rng(0).choice(len(rows), 300, replace=False)
    rows, cols = rows[some], cols[some]
    met = heights_met_by_rays(scan.points, scan.triangles, cols + truth.x0, rows + truth.y0)
    np.testing.assert_allclose(truth.depth[rows, cols], met, atol=1e-6)


def test_a_mesh_held_to_itself_has_next_to_no_error_and_no_spikes(face):
    scan = face.scan(2.0)
    figures = evaluate(scan, preprocess(scan), mesh_truth(scan))
    assert figures["inner_rmse"] < 0.1 and figures["inner_lost"] == 0 and figures["spikes"] == 0
    assert np.isnan(figures["pose_degrees"]) and figures["ssim"] > 0.99


def test_a_mesh_without_landmarks_is_no_truth(face):
    with pytest.raises(ScanError, match="no landmarks came with the scan"):
        mesh_truth(dataclasses.replace(face.scan(2.0), landmarks={}))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short"])
def test_a_damaged_truth_is_told(content, tmp_path):
    path = tmp_path / "a_truth.npz"
    path.write_bytes(content)
    with pytest.raises(AFNetError, match=r"a_truth\.npz: expected a truth"):
        read_truth(path)
