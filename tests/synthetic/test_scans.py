"""Scans of synthetic subjects against their truth: what the scanners add stays within its bounds; files come back."""

import json

import numpy as np
import pytest
import scipy.ndimage

from afnet_jax.commands.synthetic import main
from afnet_jax.scans import bosphorus, bu3dfe, find_scans, read_scan
from afnet_jax.synthetic import make_scan, write_people
from afnet_jax.synthetic.sensor import HOLES, NOISE, SPIKE_HEIGHT, SPIKES

SHOWN = [(0, "AN"), (1, "HA"), (2, "SU"), (3, "DI")]


def shoot(database: str, subject: int = 0, expression: str = "SU", clean: bool = False, seed: int = 5):
    level = 4 if database == "bu3dfe" else None
    return make_scan(subject, expression, level, database=database, seed=seed, clean=clean)


def off_surface(points: np.ndarray, truth) -> np.ndarray:
    """Distance of points before the truth's surface, mm; NaN where it is too steep or broken to tell."""
    depth = np.where(truth.valid, truth.depth, np.nan).astype(np.float64)
    at = np.stack([points[:, 1] - truth.y0, points[:, 0] - truth.x0])
    slope = np.hypot(*np.gradient(depth))
    unclear = scipy.ndimage.binary_dilation(~(slope < 1.5), iterations=1)
    near = tuple(np.clip(np.round(at).astype(int), 0, np.array(depth.shape)[:, None] - 1))
    below = scipy.ndimage.map_coordinates(np.nan_to_num(depth), at, order=1)
    return np.where(unclear[near], np.nan, (points[:, 2] - below) / np.hypot(1, slope[near]))


def robust_deviation(values: np.ndarray) -> float:
    return float(1.4826 * np.nanmedian(np.abs(values - np.nanmedian(values))))


@pytest.mark.parametrize("database", ["bu3dfe", "bosphorus"])
@pytest.mark.parametrize(("subject", "expression"), SHOWN)
def test_clean_scans_and_landmarks_lie_on_the_truth(database, subject, expression):
    scan, truth = shoot(database, subject, expression, clean=True)
    off = off_surface(scan.points, truth)
    assert np.isfinite(off).mean() > 0.6 and robust_deviation(off) < 0.05
    assert np.nanquantile(np.abs(off), 0.99) < 0.25 and np.nanmax(np.abs(off)) < 1.5
    names = bu3dfe.POINT_NAMES if database == "bu3dfe" else tuple(bosphorus.LANDMARK_NAMES.values())
    marks = off_surface(truth.landmarks, truth)
    # Lids and lips end 0.9 mm before the eyeball and more before the teeth, and 1 mm pixels blur such a step.
    plain = [not any(part in name for part in ("eye_", "lip", "mouth")) for name in names]
    assert np.isfinite(marks).sum() > 8 and np.nanmax(np.abs(marks[plain])) < 0.2 and np.nanmax(np.abs(marks)) < 0.9
    gaps = np.linalg.norm([scan.landmarks[name] for name in names] - truth.landmarks, axis=1)
    assert (
        np.median(gaps) < (0.01 if database == "bu3dfe" else 0.6) and gaps.max() < 4.0
    )  # a lip drawn up behind the nose tip is marked where the grid ends


@pytest.mark.parametrize("database", ["bu3dfe", "bosphorus"])
def test_noise_spikes_and_holes_stay_within_their_bounds(database):
    for subject, expression in SHOWN:
        (noisy, truth), (clean, _) = (shoot(database, subject, expression, c) for c in (False, True))
        off = off_surface(noisy.points, truth)
        # Bosphorus' noise is along z: on slopes it is less along the normal.
        assert NOISE[0] * 0.8 < robust_deviation(off) < NOISE[1] * 1.1
        spikes = np.abs(off[np.abs(off) > 2.5])
        assert 0.4 * SPIKES[0] <= len(spikes) <= SPIKES[1]
        assert spikes.max() < SPIKE_HEIGHT[1] * 1.3 and np.median(spikes) > SPIKE_HEIGHT[0]
        lost = 1 - len(noisy.points) / len(clean.points)
        assert 0.0005 < lost < 0.06


def test_holes_are_few_and_round():
    scan, _ = shoot("bosphorus", 0, "AN")
    inside = scipy.ndimage.binary_fill_holes(scan.grid >= 0) & (scan.grid < 0)
    _, count = scipy.ndimage.label(inside, np.ones((3, 3)))
    assert 1 <= count <= HOLES[1] + 3  # a hole over the rim is none, a mouth may add some


@pytest.mark.parametrize(("database", "writer"), [("bu3dfe", bu3dfe), ("bosphorus", bosphorus)])
def test_files_come_back_as_the_scan(database, writer, tmp_path):
    scan, _ = shoot(database, 1, "HA")
    back = read_scan(writer.write_scan(scan, tmp_path))
    assert back.id == scan.id
    np.testing.assert_allclose(back.points, scan.points, atol=1e-4)
    np.testing.assert_array_equal(back.texture, scan.texture)
    np.testing.assert_allclose(back.uv, scan.uv, atol=1e-5)
    assert set(back.landmarks) >= set(scan.landmarks)
    for name, at in scan.landmarks.items():
        np.testing.assert_allclose(back.landmarks[name], at, atol=1e-4)


def test_bu3dfe_meshes_are_like_the_databases():
    sizes = set()
    for subject, expression in SHOWN:
        scan, _ = shoot("bu3dfe", subject, expression)
        corners = scan.points[scan.triangles]
        edges = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2)
        assert 6000 <= len(scan.points) <= 9000 and 2.0 < np.median(edges) < 2.5
        assert len(scan.uv) > len(scan.points)  # the seam
        right = scan.uv[scan.uv_triangles, 0].mean(axis=1) > 0.5
        head_x = (
            (corners.mean(axis=1) - shoot("bu3dfe", subject, expression)[1].translation)
            @ shoot("bu3dfe", subject, expression)[1].rotation
        )[:, 0]
        assert np.mean(right == (head_x < 0)) > 0.97
        sizes.add(len(scan.points))
    assert len(sizes) == len(SHOWN)


def test_texture_halves_stand_as_the_database_has_them():
    """Right half upright, left half turned by 180 degrees: v falls with height there, rises here."""
    scan, _ = shoot("bu3dfe", clean=True)
    height = scan.points[scan.triangles, 1].mean(axis=1)
    u, v = scan.uv[scan.uv_triangles].mean(axis=1).T
    assert np.corrcoef(v[u > 0.5], height[u > 0.5])[0, 1] < -0.9
    assert np.corrcoef(v[u < 0.5], height[u < 0.5])[0, 1] > 0.9


@pytest.mark.parametrize("database", ["bu3dfe", "bosphorus"])
def test_texture_shows_the_colours_of_the_truth(database):
    scan, truth = shoot(database, 1, "HA", clean=True)
    at = scan.uv[scan.uv_triangles].mean(axis=1) * scan.texture.shape[1::-1]
    seen = scan.texture[np.minimum(at[:, 1].astype(int), scan.texture.shape[0] - 1), at[:, 0].astype(int)]
    centre = scan.points[scan.triangles].mean(axis=1)
    flat = np.isfinite(off_surface(centre, truth))
    row, col = np.round([centre[flat, 1] - truth.y0, centre[flat, 0] - truth.x0]).astype(int)
    difference = np.abs(seen[flat].astype(float) - truth.rgb[row, col])
    assert np.median(difference) < 6 and difference.mean() < 12


def test_bosphorus_grids_are_regular():
    scan, _ = shoot("bosphorus")
    grid = scan.grid
    across = (grid[:, 1:] >= 0) & (grid[:, :-1] >= 0)
    steps = scan.points[grid[:, 1:][across]] - scan.points[grid[:, :-1][across]]
    np.testing.assert_allclose(steps[:, 0], 0.76, atol=1e-9)
    assert 190 < grid.shape[0] < 290 and 150 < grid.shape[1] < 240
    rows = scan.points[grid[grid >= 0], 1]
    assert np.corrcoef(np.nonzero(grid >= 0)[0], rows)[0, 1] > 0.999  # row 0 is the lowest


def test_poses_are_a_few_degrees():
    turns = []
    for subject in range(4):
        truth = shoot("bosphorus", subject, "AN", clean=True)[1]
        assert np.allclose(truth.rotation @ truth.rotation.T, np.eye(3)) and np.linalg.det(truth.rotation) > 0
        turns.append(np.degrees(np.arccos((np.trace(truth.rotation) - 1) / 2)))
    assert 0.5 < np.median(turns) < 8 and max(turns) < 13


@pytest.mark.slow
def test_folders_hold_whole_people_and_go_on_where_they_stopped(tmp_path):
    paths = write_people(tmp_path, database="bosphorus", subjects=1, seed=0, workers=1)
    assert [path for _, path in find_scans("bosphorus", tmp_path)] == sorted(paths) and len(paths) == 6
    with np.load(paths[0].with_name(f"{paths[0].stem}_truth.npz")) as truth:
        assert set(truth) >= {"depth", "rgb", "valid", "x0", "y0", "landmarks", "rotation", "translation"}
        assert truth["landmarks"].shape == (22, 3) and str(truth["expression"]) == "AN"
    untouched, missing = paths[0].stat().st_mtime_ns, paths[1].with_name(f"{paths[1].stem}_truth.npz")
    missing.unlink()
    write_people(tmp_path, database="bosphorus", subjects=1, seed=0, workers=1)
    assert paths[0].stat().st_mtime_ns == untouched and missing.exists()


def test_tool_writes_and_says_what_is_wrong(call, tmp_path):
    out = ("--out", str(tmp_path / "people"), "--subjects=1", "--database=bu3dfe", "--levels=4", "--workers=1")
    done = call(main, *out, "--seed=0")
    assert done.returncode == 0 and "6 scans of 1 subject" in done.stdout
    assert json.loads((tmp_path / "people" / "made_with.json").read_text())["seed"] == 0
    refused = call(main, *out, "--seed=1")
    assert refused.returncode == 1 and refused.stderr.startswith("error: ") and "Traceback" not in refused.stderr
    assert call(main, "--database=lfw").returncode == 2 and call(main, "--help").returncode == 0
