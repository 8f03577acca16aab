"""Known poses come back, whatever the face does; what is no pose is refused with its reason."""

import numpy as np
import pytest
import scipy.optimize
from scipy.spatial.transform import Rotation

from afnet_jax.geometry import alignment
from afnet_jax.geometry.alignment import DEVIATIONS, TEMPLATE, AlignmentFault, align, to_canonical

BOSPHORUS = sorted(TEMPLATE)
BU3DFE = [name for name in BOSPHORUS if name not in ("nose_tip", "right_nose_saddle", "left_nose_saddle")]


def posed(names, rotation, translation):
    return {name: rotation @ TEMPLATE[name] + translation for name in names}


@pytest.mark.parametrize("names", [BOSPHORUS, BU3DFE])
@pytest.mark.parametrize("axis", ["x", "y", "z"])
@pytest.mark.parametrize("degrees", [-20, 7, 20])
def test_recovers_a_known_pose_exactly(names, axis, degrees):
    rotation, translation = Rotation.from_euler(axis, degrees, degrees=True).as_matrix(), np.array([5.0, -50, 30])
    to_scan = align(posed(names, rotation, translation))
    np.testing.assert_allclose(to_scan[:3, :3], rotation, atol=1e-9)
    np.testing.assert_allclose(to_scan[:3, 3], translation, atol=1e-7)
    chin = to_canonical(rotation @ TEMPLATE["chin"] + translation, to_scan)
    np.testing.assert_allclose(chin, TEMPLATE["chin"], atol=1e-7)


def angle(to_scan, rotation):
    return np.degrees(Rotation.from_matrix(to_scan[:3, :3].T @ rotation).magnitude())


@pytest.mark.parametrize("names", [BOSPHORUS, BU3DFE])
def test_is_the_pose_of_least_squares_in_units_of_the_deviations(names, monkeypatch):
    monkeypatch.setattr(alignment, "_SCALE_OF_DOUBT", 1e9)  # every landmark is believed
    rng = np.random.default_rng(3)
    rotation, translation = Rotation.from_rotvec([0.2, -0.3, 0.1]), np.array([20.0, -90, 40])
    strayed = {name: TEMPLATE[name] + rng.normal(0, DEVIATIONS[name]) for name in names}
    landmarks = {name: rotation.apply(at) + translation for name, at in strayed.items()}
    seen, places, deviations = (
        np.stack([table[name] for name in names]) for table in (landmarks, TEMPLATE, DEVIATIONS)
    )

    def off(pose):
        return ((Rotation.from_rotvec(pose[:3]).inv().apply(seen - pose[3:]) - places) / deviations).ravel()

    best = scipy.optimize.least_squares(off, np.zeros(6), x_scale=[1, 1, 1, 100, 100, 100], xtol=1e-14, ftol=1e-14).x
    to_scan = align(landmarks)
    np.testing.assert_allclose(to_scan[:3, :3], Rotation.from_rotvec(best[:3]).as_matrix(), atol=1e-5)
    np.testing.assert_allclose(to_scan[:3, 3], best[3:], atol=1e-3)


def test_a_landmark_that_slips_along_a_flank_turns_the_head_less_than_one_that_slips_across_it():
    turned = []
    for axis in (0, 2):  # the wings of the nose stand on flanks that run along z
        landmarks = posed(BOSPHORUS, np.eye(3), np.zeros(3))
        landmarks["left_nose_wing"] = landmarks["left_nose_wing"] + 4 * np.eye(3)[axis]
        to_scan = align(landmarks)
        turned.append(np.linalg.norm(to_scan[:3, 3]) + np.radians(angle(to_scan, np.eye(3))) * 50)
    assert turned[1] < 0.7 * turned[0]


def test_a_wide_open_mouth_hardly_turns_the_head():
    landmarks = posed(BOSPHORUS, np.eye(3), np.zeros(3))
    for name in ("lower_lip_outer", "lower_lip_inner", "chin"):
        landmarks[name] = landmarks[name] + (0, -30, -10)
    for name in ("right_brow_middle", "left_brow_middle"):
        landmarks[name] = landmarks[name] + (0, 10, 2)
    assert angle(align(landmarks), np.eye(3)) < 1.0


def test_one_bad_landmark_does_not_turn_the_head():
    landmarks = posed(BOSPHORUS, np.eye(3), np.zeros(3))
    landmarks["left_eye_outer"] = landmarks["left_eye_outer"] + (0, 15, -20)
    assert angle(align(landmarks), np.eye(3)) < 2.0


def test_people_of_other_size_keep_their_pose():
    rotation = Rotation.from_euler("xyz", [5, -10, 3], degrees=True).as_matrix()
    landmarks = {name: 1.12 * rotation @ at for name, at in TEMPLATE.items()}
    assert angle(align(landmarks), rotation) < 0.5


def test_names_beyond_the_template_do_not_matter():
    landmarks = posed(BOSPHORUS, np.eye(3), np.zeros(3))
    np.testing.assert_array_equal(align(landmarks | {"contour_3": np.full(3, 1e3)}), align(landmarks))


def mirrored(landmarks):
    return {name: at * (-1, 1, 1) for name, at in landmarks.items()}


def swapped(landmarks):
    other = {"left": "right", "right": "left"}
    return {"_".join(other.get(part, part) for part in name.split("_")): at for name, at in landmarks.items()}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda marks: {name: at / 1000 for name, at in marks.items()}, "look like metres; convert to mm"),
        (lambda marks: {name: at / 10 for name, at in marks.items()}, "look like centimetres"),
        (lambda marks: {name: at * 3 for name, at in marks.items()}, "expected a human face in mm"),
        (mirrored, "left and right, or the sign of an axis, are exchanged"),
        (swapped, "left and right"),
        (lambda marks: {name: at * (1, 1, -1) for name, at in marks.items()}, "exchanged"),
        (lambda marks: {name: at * (-1, 1, -1) for name, at in marks.items()}, "turned 180 degrees"),
        (lambda marks: {name: marks[name] for name in ("chin", "nose_tip")}, "found 2: "),
        (lambda marks: {}, "found 0: none"),
        (lambda marks: dict(zip(marks, list(marks.values())[::-1], strict=True)), "do not form a face"),
        (lambda marks: {name: np.full(3, 7.0) for name in marks}, "expected a human face in mm"),
    ],
)
def test_refuses_what_is_no_pose(change, reason):
    with pytest.raises(AlignmentFault, match=reason):
        align(change(posed(BOSPHORUS, np.eye(3), np.zeros(3))))
