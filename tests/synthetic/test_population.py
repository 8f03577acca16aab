"""Synthetic subjects: same arguments, same scan; expressions do what their action units say, and the sensor what
it claims, and the databases' readers take them."""

import numpy as np
import pytest
import scipy.ndimage
import scipy.spatial

from afnet_jax.scans import ScanError, bosphorus, bu3dfe, find_scans, read_scan
from afnet_jax.synthetic import make_scan, write_people

PEOPLE = range(4)


@pytest.fixture(scope="module")
def truths():
    """Truth of some people's expressions at level 4, and neutral, by (person, code)."""
    codes = ("NE", "AN", "HA", "SA", "SU")
    return {
        (who, code): make_scan(who, code, None if code == "NE" else 4, database="bu3dfe", seed=1, clean=True)[1]
        for who in PEOPLE
        for code in codes
    }


@pytest.fixture(scope="module")
def ranges():
    """The same range scan twice: noisy and clean, with the truth."""
    noisy, truth = make_scan(0, "DI", None, database="bosphorus", seed=1)
    clean, _ = make_scan(0, "DI", None, database="bosphorus", seed=1, clean=True)
    return noisy, clean, truth


def _landmark(truth, *names):
    """Mean place of BU-3DFE landmarks in the head's own frame, mm."""
    points = truth.landmarks[[bu3dfe.POINT_NAMES.index(name) for name in names]]
    return ((points - truth.translation) @ truth.rotation).mean(0)


def _mouth_opening(truth):
    return (_landmark(truth, "lip_inner_2") - _landmark(truth, "lip_inner_6"))[1]


def _corner_height(truth):
    """Height of the mouth's corners over the middle of the mouth."""
    middle = _landmark(truth, "lip_inner_2", "lip_inner_6")
    return (_landmark(truth, "lip_outer_0", "lip_outer_6") - middle)[1]


def _brow_height(truth):
    brows = [f"{side}_brow_{k}" for side in ("left", "right") for k in range(10)]
    corners = [f"{side}_eye_{k}" for side in ("left", "right") for k in (0, 4)]
    return (_landmark(truth, *brows) - _landmark(truth, *corners))[1]


@pytest.mark.parametrize("database", ["bu3dfe", "bosphorus"])
def test_the_same_arguments_give_the_same_scan(database):
    level = 3 if database == "bu3dfe" else None
    (one, truth), (again, _) = (make_scan(2, "FE", level, database=database, seed=3) for _ in range(2))
    np.testing.assert_array_equal(one.points, again.points)
    np.testing.assert_array_equal(one.texture, again.texture)
    other, _ = make_scan(2, "FE", level, database=database, seed=4)
    assert other.points.shape != one.points.shape or not np.array_equal(other.points, one.points)
    assert truth.depth.shape == truth.valid.shape == truth.rgb.shape[:2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("measure", "code", "sign", "least"),
    [
        (_mouth_opening, "SU", 1, 5.0),
        (_corner_height, "HA", 1, 1.0),
        (_corner_height, "SA", -1, 1.0),
        (_brow_height, "SU", 1, 1.5),
        (_brow_height, "AN", -1, 0.5),
    ],
)
def test_expressions_move_what_their_action_units_move(truths, measure, code, sign, least):
    """On average over people, against each one's neutral face; FACS manual, units 26, 12, 15, 1+2 and 4."""
    moved = [measure(truths[who, code]) - measure(truths[who, "NE"]) for who in PEOPLE]
    assert sign * np.mean(moved) > least


def test_levels_grow(truths):
    neutral = truths[1, "NE"]
    opening = [
        _mouth_opening(make_scan(1, "SU", level, database="bu3dfe", seed=1, clean=True)[1]) for level in (1, 2, 3)
    ]
    heights = [_mouth_opening(neutral), *opening, _mouth_opening(truths[1, "SU"])]
    assert np.all(np.diff(heights) > 0)


def test_landmarks_lie_on_the_clean_surface(truths):
    for truth in truths.values():
        xy = truth.landmarks[:, :2] - [truth.x0, truth.y0]
        depth = np.where(truth.valid, truth.depth, np.nan)
        inner = [k for k, name in enumerate(bu3dfe.POINT_NAMES) if "contour" not in name and "lip_inner" not in name]
        z = scipy.ndimage.map_coordinates(depth, xy[inner, ::-1].T, order=1)
        assert np.nanmedian(np.abs(z - truth.landmarks[inner, 2])) < 0.3
        assert np.isfinite(z).mean() > 0.9


def test_noise_spikes_and_holes_are_as_stated(ranges):
    noisy, clean, _ = ranges
    tree = scipy.spatial.cKDTree(clean.points[:, :2])
    distance, nearest = tree.query(noisy.points[:, :2])
    error = (noisy.points[:, 2] - clean.points[nearest, 2])[distance < 0.2]
    spread = 1.4826 * np.median(np.abs(error - np.median(error)))
    assert 0.15 < spread < 0.6
    spikes = (np.abs(error) > 4).sum()
    assert 5 <= spikes <= 400
    assert 0.9 < len(noisy.points) / len(clean.points) < 1.0


def test_a_range_grid_has_the_databases_spacing(ranges):
    _, clean, _ = ranges
    x = clean.points[clean.grid, 0]
    both = (clean.grid[:, 1:] >= 0) & (clean.grid[:, :-1] >= 0)
    assert np.median(np.diff(x, axis=1)[both]) == pytest.approx(0.76, abs=0.03)


def test_a_mesh_is_as_dense_as_the_databases(truths):
    scan, _ = make_scan(0, "HA", 4, database="bu3dfe", seed=1)
    edges = scan.points[scan.triangles] - scan.points[np.roll(scan.triangles, 1, axis=1)]
    assert 1.6 < np.median(np.linalg.norm(edges, axis=-1)) < 2.8
    assert 5000 < len(scan.points) < 12000


@pytest.mark.slow
@pytest.mark.parametrize("database", ["bu3dfe", "bosphorus"])
def test_written_people_are_read_back(database, tmp_path):
    write_people(tmp_path, database=database, subjects=1, seed=5, levels=(4,), workers=1)
    found = find_scans(database, tmp_path)
    assert sorted(identity.expression for identity, _ in found) == ["AN", "DI", "FE", "HA", "SA", "SU"]
    for _, path in found:
        scan = read_scan(path)
        with np.load(path.with_name(f"{path.stem}_truth.npz")) as truth:
            names = bu3dfe.POINT_NAMES if database == "bu3dfe" else tuple(bosphorus.LANDMARK_NAMES.values())
            shared = [k for k, name in enumerate(names) if name in scan.landmarks]
            read = np.array([scan.landmarks[names[k]] for k in shared])
            assert len(shared) >= 20
            assert np.median(np.linalg.norm(read - truth["landmarks"][shared], axis=1)) < 1.5


def test_two_populations_do_not_mix(tmp_path):
    write_people(tmp_path, database="bosphorus", subjects=1, seed=5, workers=1)
    with pytest.raises(ScanError, match="give another folder"):
        write_people(tmp_path, database="bosphorus", subjects=1, seed=6, workers=1)


def test_a_strangers_folder_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ScanError, match="other than synthetic subjects"):
        write_people(tmp_path, database="bu3dfe", subjects=1, seed=5, workers=1)


def test_more_people_than_the_database_has_names_for_are_refused(tmp_path):
    with pytest.raises(ScanError, match="at most 1000"):
        write_people(tmp_path, database="bosphorus", subjects=1001, seed=5, workers=1)
    assert not list(tmp_path.iterdir())
