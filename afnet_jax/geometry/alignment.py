"""The canonical pose: a rigid motion that lays a face's landmarks onto a fixed template.

Canonical frame: mm, x to the image's right (the subject's left), y up, z to the camera; the origin lies midway
between the inner corners of the eyes. The face looks along +z. Its inner parts lie within z = −70 … +50 mm.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.spatial.transform import Rotation

# First three columns: mm, mean over synthetic faces of the public ICT-FaceKit model, symmetric, rounded to 0.5 mm;
# for a left point x changes its sign. Last three: by how many mm a landmark strays from its place along x, y and z.
# Eyes and nose keep their place whatever the expression, mouth and chin do not; the brows move too, but by less than
# they steady the pitch. Marks on steep flanks (wings of the nose, outer brows) slip along them, whoever or
# whatever sets them, and the middle of a brow slips along the brow.
_HALF = {
    "brow_outer": (-57.5, 14.5, -11.0, 2.2, 2.5, 3.8),
    "brow_middle": (-37.5, 24.0, 7.5, 3.0, 2.2, 2.3),
    "brow_inner": (-11.0, 22.0, 15.5, 1.9, 2.7, 1.5),
    "eye_outer": (-44.0, 1.0, -4.0, 2.2, 2.1, 1.9),
    "eye_inner": (-18.5, 0.0, 0.0, 1.8, 1.6, 1.3),
    "nose_saddle": (-7.0, 4.0, 10.5, 1.6, 2.4, 1.8),
    "nose_wing": (-19.0, -35.5, 17.0, 2.5, 3.0, 4.4),
}
_WHOLE = {
    "nose_tip": (0.0, -28.0, 37.5, 1.1, 1.4, 1.1),
    "mouth_right": (-27.5, -65.0, 5.5, 3.4, 3.1, 2.9),
    "mouth_left": (27.5, -65.0, 5.5, 3.4, 3.1, 2.9),
    "upper_lip_outer": (0.0, -54.0, 24.0, 1.4, 2.0, 1.6),
    "upper_lip_inner": (0.0, -62.5, 20.5, 3.2, 3.9, 4.0),
    "lower_lip_inner": (0.0, -70.0, 18.0, 4.5, 4.7, 4.8),
    "lower_lip_outer": (0.0, -79.5, 21.0, 4.5, 4.7, 4.7),
    "chin": (0.0, -109.5, 10.5, 3.3, 3.9, 3.9),
}
_SIDED = {f"{side}_{name}": (sign * x, *rest) for name, (x, *rest) in _HALF.items() for side, sign in
          (("right", 1), ("left", -1))}  # fmt: skip
TEMPLATE: Mapping[str, np.ndarray] = {name: np.array(row[:3]) for name, row in (_SIDED | _WHOLE).items()}
# (3,) mm of each landmark, standard deviation from its place in TEMPLATE along each axis of the canonical frame.
DEVIATIONS: Mapping[str, np.ndarray] = {name: np.array(row[3:]) for name, row in (_SIDED | _WHOLE).items()}
# Of each landmark where all axes count alike: the inverse of its mean squared deviation.
WEIGHTS: Mapping[str, float] = {name: float(1 / np.mean(each**2)) for name, each in DEVIATIONS.items()}

_EYE_CORNERS = ("right_eye_outer", "right_eye_inner", "left_eye_inner", "left_eye_outer")
_BELOW = ("nose_tip", "right_nose_wing", "left_nose_wing", "mouth_right", "mouth_left", "upper_lip_outer")
_MAX_TURN = 60.0  # degrees from the camera; beyond it half of the face is out of sight
_MAX_RESIDUAL = 12.0  # mm, weighted RMS to the template; people differ by 3 to 6
_FURTHEST = 18.0  # mm from the template that one landmark counts for at most
_SIZES = (0.7, 1.4)  # size of a face against the template's
_SCALE_OF_DOUBT = 12.0  # mm: a landmark this far from its place counts half
_STEPS, _CONVERGED = 20, 1e-7  # at most; radians and mm


class AlignmentFault(Exception):
    """Landmarks from which no pose follows; the message is the reason, without the scan."""


def align(landmarks: Mapping[str, np.ndarray], frontal: bool = True) -> np.ndarray:
    """Finds the rigid motion from the canonical frame to the scan's.

    Least squares over the landmarks that TEMPLATE knows, each coordinate in units of its deviation: from the pose of
    weighted landmarks (Kabsch 1976) by Gauss-Newton steps, with less weight for landmarks that lie far from their
    place (Cauchy weights), so that one bad landmark does not turn the head.

    Args:
        landmarks: name -> (3,) in the scan's frame, mm.
        frontal: the scan's face looks about along +z, so that one turned far away is a fault.

    Returns:
        (4, 4) float64, p_scan = to_scan @ p_canonical (homogeneous).

    Raises:
        AlignmentFault: too few landmarks, wrong units, left and right exchanged, a turned-away or distorted face.
    """
    names = [name for name in TEMPLATE if name in landmarks]
    _check_present(names)
    source = np.stack([TEMPLATE[name] for name in names])
    target = np.stack([np.asarray(landmarks[name], dtype=np.float64) for name in names])
    prior = np.array([WEIGHTS[name] for name in names])
    _check_size(source, target, prior)
    rotation, translation = _nearest_pose(source, target, np.stack([DEVIATIONS[name] for name in names]), prior)
    residuals = np.linalg.norm(source @ rotation.T + translation - target, axis=1)
    _check_fit(source, target, prior, residuals, names)
    if frontal:
        _check_turn(rotation)
    to_scan = np.eye(4)
    to_scan[:3, :3], to_scan[:3, 3] = rotation, translation
    return to_scan


def to_canonical(points: np.ndarray, to_scan: np.ndarray) -> np.ndarray:
    """Brings (N, 3) or (3,) points of the scan's frame into the canonical one."""
    return (points - to_scan[:3, 3]) @ to_scan[:3, :3]


def _nearest_pose(
    source: np.ndarray, target: np.ndarray, deviations: np.ndarray, prior: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Rotation and translation that bring source nearest to target, coordinate by coordinate in source's frame."""
    rotation, translation = _kabsch(source, target, prior)
    for _ in range(_STEPS):
        seen = (target - translation) @ rotation  # in source's frame
        off = seen - source
        weights = 1 / deviations**2 / (1 + (np.linalg.norm(off, axis=1, keepdims=True) / _SCALE_OF_DOUBT) ** 2)
        # What a small turn about each axis and a shift along each do to every coordinate: (K, 3, 6).
        moved = np.concatenate([np.cross(np.eye(3), seen[:, None]), np.tile(np.eye(3), (len(seen), 1, 1))], axis=1)
        jacobian = moved.swapaxes(1, 2).reshape(-1, 6)
        weighted = jacobian * weights.reshape(-1, 1)
        step = -np.linalg.solve(weighted.T @ jacobian, weighted.T @ off.ravel())
        rotation = rotation @ Rotation.from_rotvec(-step[:3]).as_matrix()
        translation = translation - rotation @ step[3:]
        if np.abs(step).max() < _CONVERGED:
            break
    return rotation, translation


def _kabsch(
    source: np.ndarray, target: np.ndarray, weights: np.ndarray, mirror: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Rotation and translation (with `mirror`, a reflection) that bring source nearest to target."""
    weights = weights / weights.sum()
    source_mean, target_mean = weights @ source, weights @ target
    u, _, vt = np.linalg.svd((target - target_mean).T * weights @ (source - source_mean))
    sign = np.sign(np.linalg.det(u @ vt)) * (-1 if mirror else 1)
    rotation = u @ np.diag([1, 1, sign]) @ vt
    return rotation, target_mean - rotation @ source_mean


def _check_present(names: list[str]) -> None:
    eyes = [name for name in _EYE_CORNERS if name in names]
    below = [name for name in _BELOW if name in names]
    if len(eyes) < 2 or not below or len(names) < 5:
        raise AlignmentFault(
            f"the pose needs two eye corners, a point of nose or mouth and five landmarks in all; found {len(names)}: "
            f"{', '.join(names) or 'none'}"
        )


def _check_size(source: np.ndarray, target: np.ndarray, weights: np.ndarray) -> None:
    def spread(points: np.ndarray) -> float:
        return np.sqrt(
            np.average(((points - np.average(points, axis=0, weights=weights)) ** 2).sum(1), weights=weights)
        )

    size = spread(target) / spread(source)
    if _SIZES[0] <= size <= _SIZES[1]:
        return
    units = {"metres": 1e-3, "centimetres": 0.1, "inches": 1 / 25.4, "micrometres": 1e3}
    guess = [name for name, unit in units.items() if _SIZES[0] <= size / unit <= _SIZES[1]]
    hint = f"they look like {guess[0]}; convert to mm" if guess else "expected a human face in mm"
    raise AlignmentFault(f"the landmarks span {size:.3g} times a face's size: {hint}")


def _check_fit(source, target, prior, residuals, names) -> None:
    rms = _rms(residuals, prior)
    mirrored, shift = _kabsch(source, target, prior, mirror=True)
    mirrored_residuals = np.linalg.norm(source @ mirrored.T + shift - target, axis=1)
    mirrored_rms = _rms(mirrored_residuals, prior)
    if mirrored_rms < 0.7 * rms and mirrored_rms < _MAX_RESIDUAL:
        raise AlignmentFault("the landmarks fit a mirrored face: left and right, or the sign of an axis, are exchanged")
    if rms > _MAX_RESIDUAL:
        worst = names[int(np.argmax(residuals))]
        raise AlignmentFault(
            f"the landmarks do not form a face: {rms:.1f} mm RMS from the template (at most {_MAX_RESIDUAL:g}), "
            f"worst {worst} with {residuals.max():.0f} mm"
        )


def _rms(residuals: np.ndarray, weights: np.ndarray) -> float:
    """Weighted RMS of residuals, mm, of which none counts as more than _FURTHEST: a chin may drop by 40 mm."""
    return float(np.sqrt(np.average(np.minimum(residuals, _FURTHEST) ** 2, weights=weights)))


def _check_turn(rotation: np.ndarray) -> None:
    turn = np.degrees(np.arccos(np.clip(rotation[2, 2], -1, 1)))
    if turn > _MAX_TURN:
        raise AlignmentFault(
            f"the face is turned {turn:.0f} degrees from the camera (+z), at most {_MAX_TURN:g} can be used; "
            "if the scan is frontal, left and right of the landmarks are exchanged"
        )
