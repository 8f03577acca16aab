"""Heads, views and batches that the detector learns from."""

import jax
import numpy as np
import pytest
from flax import nnx

from afnet_jax.landmarks import bodies, examples, subjects, training, views
from afnet_jax.landmarks.disturbances import MIRRORED, disturbed, glasses
from afnet_jax.landmarks.examples import MARGIN, load_views, make_views, views_of
from afnet_jax.landmarks.network import FaceFinder, LandmarkFinder
from afnet_jax.landmarks.subjects import draw_head, landmark_places
from afnet_jax.scans.scan import LANDMARKS
from afnet_jax.synthetic import template
from tests.support.one_thread import one_thread


@pytest.fixture(scope="module")
def some_views():
    rows = [views_of(number, seed=5) for number in range(4)]
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


def test_a_head_is_drawn_again_alike():
    first, again, other = draw_head(3, 0), draw_head(3, 0), draw_head(4, 0)
    assert np.array_equal(first.points, again.points) and np.array_equal(first.triangles, again.triangles)
    assert not np.allclose(first.landmarks, other.landmarks)


def test_the_default_subjects_keep_their_landmarks():
    template.common_places.cache_clear()
    landmark_places.cache_clear()
    before = dict(template.common_places())
    landmark_places()
    assert dict(template.common_places()) == before


def test_landmarks_of_heads_lie_on_them():
    for number in range(5):
        head = draw_head(number, 1)
        gaps = np.linalg.norm(head.points[None] - head.landmarks[:, None], axis=2).min(axis=1)
        assert gaps.max() < 3.0


@pytest.mark.parametrize("kind", range(8))
def test_things_are_meshes(kind):
    points, triangles = bodies.thing(np.random.default_rng(kind))
    assert np.isfinite(points).all()
    assert triangles.min() >= 0 and triangles.max() < len(points)


def test_blobs_face_outwards():
    points, triangles = bodies.blob((5, 6, 7), (10, 20, 30), np.random.default_rng(0), 0.02)
    a, b, c = (points[triangles[:, k]] - (5, 6, 7) for k in range(3))
    volume = np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6
    assert volume == pytest.approx(4 / 3 * np.pi * 10 * 20 * 30, rel=0.1)


def test_upright_views_show_the_landmarks_where_they_are(some_views):
    """The nose tip is about the nearest point to the viewer within a centimetre of it."""
    tip = LANDMARKS.index("nose_tip")
    for depth, places in zip(some_views["fine"][some_views["fine_face"]],
                             some_views["fine_places"][some_views["fine_face"]], strict=True):  # fmt: skip
        col, row = places[tip].round().astype(int)
        around = depth[row - 5 : row + 6, col - 5 : col + 6].astype(float)
        if np.isfinite(around).mean() > 0.9:
            assert np.nanmax(around) - np.nanmax(around[4:7, 4:7]) < 6.0


def test_turned_views_name_the_middle_and_the_rotation(some_views):
    for k in np.flatnonzero(some_views["coarse_face"]):
        turn = some_views["coarse_turn"][k]
        assert np.allclose(turn @ turn.T, np.eye(3), atol=1e-5)
        col, row, height = some_views["coarse_middle"][k]
        around = some_views["coarse"][k][int(row) - 8 : int(row) + 9, int(col) - 8 : int(col) + 9].astype(float)
        assert np.isfinite(around).mean() > 0.3
        assert abs(np.nanmedian(around) - height) < 60


@pytest.mark.slow
def test_views_are_kept_in_files_and_made_once(tmp_path, monkeypatch):
    monkeypatch.setattr(examples, "_PER_FILE", 4)
    monkeypatch.setattr(examples, "worker_processes", one_thread)
    folder = make_views(4, 2, tmp_path, workers=1)
    (path,) = folder.glob("*.npz")
    written = path.stat().st_mtime_ns
    assert make_views(4, 2, tmp_path, workers=1) == folder and path.stat().st_mtime_ns == written
    data = load_views(folder, 4, 2)
    assert data["fine"].shape == (12, 96 + 2 * MARGIN, 96 + 2 * MARGIN)
    assert np.array_equal(data["fine_places"][:3], views_of(0, 2)["fine_places"])


def test_mirrored_names_are_one_anothers_counterparts():
    assert np.array_equal(MIRRORED[MIRRORED], np.arange(len(LANDMARKS)))
    assert LANDMARKS[MIRRORED[LANDMARKS.index("mouth_left")]] == "mouth_right"
    assert LANDMARKS[MIRRORED[LANDMARKS.index("right_eye_inner")]] == "left_eye_inner"
    assert LANDMARKS[MIRRORED[LANDMARKS.index("chin")]] == "chin"


def test_disturbed_views_are_drawn_again_alike_and_stay_near():
    row, col = np.mgrid[:96, :96]
    depth = (60 - 0.02 * ((row - 48) ** 2 + (col - 48) ** 2)).astype(np.float32)
    for seed in range(12):
        worse = disturbed(depth, 2.2, np.random.default_rng(seed), np.full((22, 2), 48.0))
        assert np.array_equal(
            worse, disturbed(depth, 2.2, np.random.default_rng(seed), np.full((22, 2), 48.0)), equal_nan=True
        )
        known = np.isfinite(worse)
        assert known.any() and np.median(np.abs(worse - depth)[known]) < 4


def test_steep_flanks_are_lost_now_and_then():
    depth = np.zeros((96, 96), np.float32)
    depth[:, 48:] = 60  # a step
    lost = [np.isnan(disturbed(depth, 2.2, np.random.default_rng(seed))[:, 47:49]).mean() > 0.9 for seed in range(40)]
    assert 0.15 < np.mean(lost) < 0.6


def test_mouths_and_eyes_are_shut_on_some_heads_and_open_on_others():
    heads = [draw_head(number, 9).landmarks for number in range(24)]
    upper, lower = LANDMARKS.index("upper_lip_inner"), LANDMARKS.index("lower_lip_inner")
    gaps = np.array([np.linalg.norm(head[upper] - head[lower]) for head in heads])
    assert 4 <= (gaps < 0.5).sum() <= 18 and (gaps > 5).sum() >= 4


def test_features_of_heads_vary_beyond_the_default_subjects():
    moved = [subjects._own_features(np.random.default_rng(seed)) for seed in range(30)]
    corner = template.interpolate(moved[0], np.array([template.place(27.0, -37.0)]))
    assert corner.shape == (1, 3)
    spread = np.std([template.interpolate(each, landmark_places()) for each in moved], axis=0)
    assert (spread[LANDMARKS.index("nose_tip")] > [-1, 0.5, 1.0]).all() and spread.max() < 6


def test_glasses_leave_holes_at_the_eyes_alone():
    places = views_of(0, 5)["fine_places"][0]
    depth = glasses(np.zeros((112, 112), np.float32), places, 2.2, np.random.default_rng(0))
    eye = (places[LANDMARKS.index("right_eye_inner")] + places[LANDMARKS.index("right_eye_outer")]) / 2
    assert np.isnan(depth[int(eye[1]) - 2 : int(eye[1]) + 3, int(eye[0]) - 3 : int(eye[0]) + 4]).mean() > 0.4
    chin = places[LANDMARKS.index("chin")].round().astype(int)
    assert np.isfinite(depth[chin[1] - 5 : chin[1] + 6, chin[0] - 5 : chin[0] + 6]).all()


def test_a_mirrored_batch_is_that_of_a_mirrored_head(some_views):
    """Landmarks of a batch lie on the same side of their counterparts whether a view was mirrored or not."""
    _, places, is_face = training._fine_batch(some_views, np.random.default_rng(0))
    right, left = LANDMARKS.index("right_eye_outer"), LANDMARKS.index("left_eye_outer")
    faces = places[is_face > 0]
    assert len(faces) > 5 and (faces[:, right, 0] < faces[:, left, 0]).all()


def test_batches_are_drawn_again_alike(some_views):
    for make in (training._fine_batch, training._coarse_batch):
        first, again = (make(some_views, np.random.default_rng(3)) for _ in range(2))
        assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(first, again, strict=True))


@pytest.mark.slow
def test_a_network_is_trained(some_views):
    lines: list[str] = []
    before = jax.tree.leaves(nnx.state(FaceFinder(rngs=nnx.Rngs(0)), nnx.Param))
    after = jax.tree.leaves(nnx.state(training.train_face_finder(some_views, 2, 0, lines.append), nnx.Param))
    assert any(not np.allclose(a, b) for a, b in zip(before, after, strict=True))
    assert all(np.isfinite(leaf).all() for leaf in after) and lines[0].startswith("step 2/2  heat")


@pytest.mark.slow
def test_what_a_network_is_off_is_measured_on_whole_faces(some_views, monkeypatch):
    monkeypatch.setattr(training, "_MEASURED", 1)
    net = LandmarkFinder(rngs=nnx.Rngs(0))
    net.eval()
    errors = training.errors_of(net, some_views, 0)
    assert errors.shape[1:] == (len(LANDMARKS), 3) and 2 < len(errors) <= 32
    assert np.isfinite(errors).all() and np.abs(errors[..., :2]).mean() > 10  # it has learnt nothing


def test_coarse_targets_name_the_cell_of_the_middle(some_views):
    depth, middle, turn, is_face = training._coarse_batch(some_views, np.random.default_rng(1))
    mean = np.zeros((len(depth), 64, 64), np.float32)
    wanted = np.asarray(training._wanted(middle, turn, mean, (16, 16)))
    k = int(np.flatnonzero(is_face)[0])
    col, row = ((middle[k, :2] + 0.5) / 4).astype(int)
    assert (np.abs(wanted[k, row, col, :2]) <= 0.5 + 1e-5).all()
    assert np.allclose(wanted[k, row, col, 3:6], turn[k][:, 0]) and np.allclose(wanted[k, row, col, 6:], turn[k][:, 1])
    assert views.COARSE_STEP == 5.0
