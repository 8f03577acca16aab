"""Landmarks found on heads that the detector was not trained on, and refusals of what is no face."""

import dataclasses
import re

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from afnet_jax.geometry.alignment import align
from afnet_jax.landmarks import bodies, detector, examples, find_landmarks, look_at, views
from afnet_jax.landmarks.detector import height_at
from afnet_jax.landmarks.disturbances import MIRRORED
from afnet_jax.landmarks.plausibility import Prior
from afnet_jax.landmarks.subjects import draw_head
from afnet_jax.scans.scan import LANDMARKS, Scan, ScanError, ScanId
from afnet_jax.synthetic import make_scan

UNSEEN = 4242  # seed of heads


def scan_of(points: np.ndarray, triangles: np.ndarray, landmarks=None) -> Scan:
    uv = np.full((len(points), 2), 0.5, np.float32)
    triangles = triangles.astype(np.int32)
    identity = ScanId("heads", "head", "", None, None, "head")
    return Scan(identity, points, triangles, uv, triangles, np.zeros((2, 2, 3), np.uint8), landmarks or {})


def turned_head(number: int, yaw: float, pitch: float, roll: float) -> Scan:
    """A head of the training's kind, noise on its points, with its true landmarks."""
    head = draw_head(number, UNSEEN)
    turn = Rotation.from_euler("zxy", [roll, pitch, yaw], degrees=True).as_matrix()
    points = head.points + np.random.default_rng(number).normal(0, 0.3, head.points.shape)
    landmarks = dict(zip(LANDMARKS, head.landmarks @ turn.T + [30, -200, 900], strict=True))
    return scan_of(points @ turn.T + [30, -200, 900], head.triangles, landmarks)


def errors(found: dict, scan: Scan) -> np.ndarray:
    return np.array([np.linalg.norm(found[name] - scan.landmarks[name]) for name in LANDMARKS])


def degrees_between(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.degrees(np.linalg.norm(Rotation.from_matrix(a.T @ b).as_rotvec())))


POSES = [(0, 0, 0), (40, 10, -20), (-55, -20, 10), (10, 25, 25)]


@pytest.mark.parametrize(("number", "pose"), list(enumerate(POSES)))
def test_found_in_any_pose(number, pose):
    scan = turned_head(number, *pose)
    found, confidence = find_landmarks(dataclasses.replace(scan, landmarks={}))
    assert set(found) == set(confidence) == set(LANDMARKS)
    assert errors(found, scan).mean() < 6.0
    assert degrees_between(align(found)[:3, :3], align(scan.landmarks)[:3, :3]) < 5.0
    assert all(0 <= value <= 1 for value in confidence.values())


def test_found_though_the_head_looks_away_from_the_viewer_and_lies_on_its_side():
    scan = turned_head(1, 170, 10, 85)
    found, _ = find_landmarks(dataclasses.replace(scan, landmarks={}))
    assert errors(found, scan).mean() < 6.0


def test_left_and_right_are_the_subjects():
    found, _ = find_landmarks(turned_head(2, 20, 0, 0))
    upright = {name: (at - align(found)[:3, 3]) @ align(found)[:3, :3] for name, at in found.items()}
    assert upright["right_eye_outer"][0] < upright["right_eye_inner"][0] < upright["left_eye_inner"][0]


def test_brows_are_where_a_scan_is_dark_whichever_way_its_triangles_run():
    scan, _ = make_scan(4, "SU", 4, database="bu3dfe", seed=1)
    grey = dataclasses.replace(scan, texture=np.full((2, 2, 3), 128, np.uint8))
    other_way = dataclasses.replace(
        scan, triangles=scan.triangles[:, ::-1], uv_triangles=scan.uv_triangles[:, ::-1], frontal=False
    )
    by_colours, by_surface, found_other_way = (find_landmarks(each)[0] for each in (scan, grey, other_way))
    moved = {name for name in LANDMARKS if np.linalg.norm(by_colours[name] - by_surface[name]) > 1e-6}
    assert moved and all("brow" in name for name in moved)
    for name in LANDMARKS:
        np.testing.assert_allclose(found_other_way[name], by_colours[name], atol=1e-6)


def test_the_same_scan_has_the_same_landmarks():
    scan = turned_head(3, 15, 5, 0)
    first, again = (find_landmarks(scan)[0] for _ in range(2))
    assert all(np.array_equal(first[name], again[name]) for name in LANDMARKS)


@pytest.mark.parametrize("kind", ["ball", "box", "noise", "ear", "nothing", "bits"])
def test_what_is_no_face_is_refused_in_one_line(kind):
    rng = np.random.default_rng(7)
    points, triangles = {
        "ball": lambda: bodies.blob((0, 0, 0), (90, 110, 90), rng, 0.0),
        "box": lambda: bodies.blob((0, 0, 0), (80, 100, 60), rng, 0.0, 0.1),
        "noise": lambda: (rng.normal(0, 50, (500, 3)), rng.integers(0, 500, (900, 3))),
        "ear": lambda: bodies.blob((0, 0, 0), (7, 31, 18), rng, 0.09),
        "nothing": lambda: (np.zeros((3, 3)), np.zeros((0, 3), int)),
        "bits": lambda: (rng.normal(0, 60, (90, 3)), np.arange(90).reshape(30, 3)),
    }[kind]()
    with pytest.raises(ScanError, match="no face found") as caught:
        find_landmarks(scan_of(points, triangles))
    assert len(str(caught.value).splitlines()) == 1


class Exact:
    """A detector that knows the landmarks, and is shown views from these sides, each with its mirror image."""

    def __init__(self, landmarks: np.ndarray, turns):
        self.prior = Prior(landmarks.ravel(), 1e6 * np.eye(landmarks.size), np.eye(landmarks.size))
        self._landmarks, self._turns = landmarks, iter(turns)

    def places(self, depths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        row, col = views.fine_grid().to_pixels(detector._about_middle(self._landmarks, next(self._turns)))
        direct = np.stack([col, row], axis=1)
        return np.stack([direct, direct[MIRRORED] * [-1, 1] + [depths.shape[2] - 1, 0]]), np.full(2, 9.0)


def test_places_in_views_from_several_sides_are_brought_back_to_the_upright_one():
    head = examples._canonical_head(5, UNSEEN)
    turned = [detector._about_middle(head.points, turn) for turn in detector._TURNS]
    depths = np.stack([views.depth_image(points, head.triangles, views.fine_grid()) for points in turned])
    places, confidence, presence = detector._placed(Exact(head.landmarks, detector._TURNS), depths, detector._TURNS)
    off = np.linalg.norm(places - head.landmarks, axis=1)
    assert np.median(off) < 0.5 and np.quantile(off, 0.9) < 3.0
    assert presence > 0.99 and np.median(confidence) > 0.9


def test_heights_are_read_off_the_surface_between_pixels_and_beside_holes():
    row, col = np.mgrid[:40, :40].astype(np.float32)
    depth = 3 * col - 2 * row
    depth[20:24, 20:24] = np.nan
    heights, off = height_at(depth, np.array([[10.5, 8.25], [21.5, 21.5]]))
    assert heights[0] == pytest.approx(3 * 10.5 - 2 * 8.25, abs=1e-3) and off[0] == 0
    assert abs(heights[1] - (3 * 21.5 - 2 * 21.5)) < 8 and 0.5 < off[1] < 3


def test_upright_views_are_large_enough_for_every_landmark():
    grid = views.fine_grid()
    assert grid.y[0] > 45 and grid.y[-1] < -150 and grid.x[-1] > 100


def test_of_two_faces_the_likelier_is_taken_and_the_other_told():
    head = turned_head(0, 0, 0, 0)
    points = np.vstack([head.points, head.points + np.array([400.0, 0, 0])])
    two = scan_of(points, np.vstack([head.triangles, head.triangles + len(head.points)]))
    landmarks, _, (remark,) = look_at(two)
    assert min(errors(landmarks, each).mean() for each in (head, moved(head, 400.0))) < 6.0
    assert re.search("shows another face, (399|400|401) mm from the one that was taken", remark)
    assert look_at(dataclasses.replace(head, landmarks={}))[2] == ()


def moved(scan: Scan, right: float) -> Scan:
    return dataclasses.replace(
        scan, landmarks={name: at + np.array([right, 0, 0]) for name, at in scan.landmarks.items()}
    )
