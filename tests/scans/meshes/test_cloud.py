"""Surfaces through point clouds: near the true surface, whole, outward, whichever way the cloud is turned."""

import subprocess
import sys

import numpy as np
import pytest

from afnet_jax.scans import read_scan
from afnet_jax.scans.meshes import cloud
from afnet_jax.scans.meshes.cloud import meshed
from afnet_jax.scans.meshes.surface import MeshError, Surface
from tests.support import mesh_files

RADII = np.array([75.0, 110.0, 90.0])


def head(count=6000, noise=0.0, seed=0):
    """(count, 3) points of an ellipsoid as large as a head with a nose of 20 mm in front, at random directions."""
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return directions * surface_radius(directions)[:, None] + rng.normal(scale=noise, size=(count, 3))


def surface_radius(directions):
    base = 1 / np.sqrt(((directions / RADII) ** 2).sum(axis=1))
    off_axis = directions[:, 0] ** 2 + (directions[:, 1] + 0.1) ** 2
    return base + 20 * np.exp(-off_axis / 0.02) * (directions[:, 2] > 0)


def rotation(seed):
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return q * np.sign(np.linalg.det(q))


def distances(points):
    """Along the ray from the ellipsoid's centre."""
    size = np.linalg.norm(points, axis=1)
    return np.abs(size - surface_radius(points / size[:, None]))


@pytest.mark.parametrize("seed", [0, 1])
def test_a_whole_head(seed):
    turn, shift = rotation(seed), np.array([400.0, -30, 12])
    surface = meshed(Surface(head() @ turn.T + shift))
    corners = ((surface.points - shift) @ turn)[surface.parts[0].triangles]
    assert np.quantile(distances(corners.mean(axis=1)), 0.99) < 1.0  # chords of 4 mm on a sphere of 9 cm, and the nose
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (np.einsum("ij,ij->i", normals, corners.mean(axis=1)) > 0).mean() > 0.995
    area = np.linalg.norm(normals, axis=1).sum() / 2
    p = 1.6075  # Thomsen's formula for an ellipsoid's area, within 1.1 %; the nose adds about as much
    a, b, c = RADII**p
    assert area == pytest.approx(4 * np.pi * ((a * b + a * c + b * c) / 3) ** (1 / p), rel=0.04)


def test_a_face_alone_is_closed_within_and_open_behind():
    points = head()
    points = points[points[:, 2] > 30]
    turn = rotation(5)
    surface = meshed(Surface(points @ turn.T))
    corners = (surface.points @ turn)[surface.parts[0].triangles]
    assert np.quantile(distances(corners.mean(axis=1)), 0.99) < 1.5
    assert corners[..., 2].min() > 29
    # Seen from the front every place is covered once: as many mm² as the outline holds.
    (ax, ay), (bx, by), (cx, cy) = corners[..., :2].transpose(1, 2, 0)
    covered = ((bx - ax) * (cy - ay) - (by - ay) * (cx - ax)).sum() / 2
    outline = np.pi * RADII[0] * RADII[1] * (1 - (30 / RADII[2]) ** 2)
    assert covered == pytest.approx(outline, rel=0.05)


def test_holes_stay_open_and_stray_points_do_no_harm():
    points = head()
    eye = np.linalg.norm(points - (30, 40, 75), axis=1) < 20
    stray = np.random.default_rng(1).uniform(-2000, 2000, size=(20, 3))
    surface = meshed(Surface(np.concatenate([points[~eye], stray, [[np.nan, 0, 0]]])))
    corners = surface.points[surface.parts[0].triangles]
    middle = corners.mean(axis=1)
    assert np.linalg.norm(middle - (30, 40, 75), axis=1).min() > 10
    assert np.quantile(distances(middle), 0.99) < 1.0


def test_noise_stays_noise():
    surface = meshed(Surface(head(noise=0.3)))
    corners = surface.points[surface.parts[0].triangles]
    assert np.quantile(distances(corners.mean(axis=1)), 0.95) < 1.0


def test_many_points_are_thinned(monkeypatch):
    monkeypatch.setattr(cloud, "_MOST_POINTS", 4000)
    surface = meshed(Surface(head(30_000)))
    assert 2000 < len(surface.points) <= 4000
    assert np.quantile(distances(surface.points[surface.parts[0].triangles].mean(axis=1)), 0.99) < 1.5


def test_colours_stay_with_their_points():
    points = head(3000)
    colours = np.round(128 + points).clip(0, 255).astype(np.uint8)
    surface = meshed(Surface(points, colours=colours))
    np.testing.assert_array_equal(surface.colours, np.round(128 + surface.points).clip(0, 255))


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        (np.zeros((1000, 3)), "different points|plane|apart"),
        (np.full((1000, 3), np.nan), "0 points"),
        (np.random.default_rng(0).normal(size=(50, 3)), "50 points"),
    ],
)
def test_clouds_that_are_no_surface_are_refused(points, reason):
    with pytest.raises(MeshError, match=reason):
        meshed(Surface(points))


def test_a_file_of_points_becomes_a_scan(tmp_path):
    path = tmp_path / "cloud.ply"
    path.write_bytes(mesh_files.ply("binary_little_endian", faces=[], points=mesh_files.dense()))
    scan = read_scan(path)
    assert scan.coloured and len(scan.triangles) > 1500
    assert any("cloud of points" in remark for remark in scan.remarks)


def test_what_only_clouds_need_is_not_loaded_with_the_readers():
    code = "import sys, afnet_jax.scans; sys.exit('scipy.spatial' in sys.modules or 'DracoPy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=600, check=False).returncode == 0
