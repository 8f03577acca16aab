"""The canonical pose: a rigid motion that lays a face's landmarks onto a fixed template.

Canonical frame: mm, x to the image's right (the subject's left), y up, z to the camera; the origin lies midway
between the inner corners of the eyes. The face looks along +z. Its inner parts lie within z = −70 … +50 mm.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

# Mean over synthetic faces of the public ICT-FaceKit model, made symmetric and rounded to 0.5 mm; for a left point
# x changes its sign. First three columns: mm; last: weight. Eyes and nose keep their place whatever the expression,
# mouth and chin do not; the brows move too, but by less than they steady the pitch. The wings of the nose stand on
# steep flanks, where the scan's nearest point slips by a millimetre from one pose to the next. With these weights the
# pitch of one person varies by 0.65 degrees over the expressions of synthetic subjects
# (1.4 where the brows hardly count).
_HALF = {
    "brow_outer": (-57.5, 14.5, -11.0, 0.6),
    "brow_middle": (-37.5, 24.0, 7.5, 0.6),
    "brow_inner": (-11.0, 22.0, 15.5, 0.6),
    "eye_outer": (-44.0, 1.0, -4.0, 1.0),
    "eye_inner": (-18.5, 0.0, 0.0, 1.0),
    "nose_saddle": (-7.0, 4.0, 10.5, 0.5),
    "nose_wing": (-19.0, -35.5, 17.0, 0.2),
}
_WHOLE = {
    "nose_tip": (0.0, -28.0, 37.5, 1.0),
    "mouth_right": (-27.5, -65.0, 5.5, 0.15),
    "mouth_left": (27.5, -65.0, 5.5, 0.15),
    "upper_lip_outer": (0.0, -54.0, 24.0, 0.6),
    "upper_lip_inner": (0.0, -62.5, 20.5, 0.1),
    "lower_lip_inner": (0.0, -70.0, 18.0, 0.05),
    "lower_lip_outer": (0.0, -79.5, 21.0, 0.05),
    "chin": (0.0, -109.5, 10.5, 0.1),
}
_SIDED = {f"{side}_{name}": (sign * x, y, z, w) for name, (x, y, z, w) in _HALF.items() for side, sign in
          (("right", 1), ("left", -1))}  # fmt: skip
TEMPLATE: Mapping[str, np.ndarray] = {name: np.array(row[:3]) for name, row in (_SIDED | _WHOLE).items()}
WEIGHTS: Mapping[str, float] = {name: row[3] for name, row in (_SIDED | _WHOLE).items()}

_EYE_CORNERS = ("right_eye_outer", "right_eye_inner", "left_eye_inner", "left_eye_outer")
_BELOW = ("nose_tip", "right_nose_wing", "left_nose_wing", "mouth_right", "mouth_left", "upper_lip_outer")
_MAX_TURN = 60.0  # degrees from the camera; beyond it half of the face is out of sight
_MAX_RESIDUAL = 12.0  # mm, weighted RMS to the template; people differ by 3 to 6
_SIZES = (0.7, 1.4)  # size of a face against the template's
_SCALE_OF_DOUBT = 6.0  # mm: a landmark this far from its place counts half


class AlignmentFault(Exception):
    """Landmarks from which no pose follows; the message is the reason, without the scan."""


def align(landmarks: Mapping[str, np.ndarray], frontal: bool = True) -> np.ndarray:
    """Finds the rigid motion from the canonical frame to the scan's.

    Weighted least squares over the landmarks that TEMPLATE knows (Kabsch 1976), repeated with less weight for
    those that lie far from their place (Cauchy weights), so that one bad landmark does not turn the head.

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
    weights = prior
    for _ in range(5):
        rotation, translation = _kabsch(source, target, weights)
        residuals = np.linalg.norm(source @ rotation.T + translation - target, axis=1)
        weights = prior / (1 + (residuals / _SCALE_OF_DOUBT) ** 2)
    _check_fit(source, target, prior, residuals, names)
    if frontal:
        _check_turn(rotation)
    to_scan = np.eye(4)
    to_scan[:3, :3], to_scan[:3, 3] = rotation, translation
    return to_scan


def to_canonical(points: np.ndarray, to_scan: np.ndarray) -> np.ndarray:
    """Brings (N, 3) or (3,) points of the scan's frame into the canonical one."""
    return (points - to_scan[:3, 3]) @ to_scan[:3, :3]


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
    rms = np.sqrt(np.average(residuals**2, weights=prior))
    mirrored, shift = _kabsch(source, target, prior, mirror=True)
    mirrored_residuals = np.linalg.norm(source @ mirrored.T + shift - target, axis=1)
    mirrored_rms = np.sqrt(np.average(mirrored_residuals**2, weights=prior))
    if mirrored_rms < 0.7 * rms and mirrored_rms < _MAX_RESIDUAL:
        raise AlignmentFault("the landmarks fit a mirrored face: left and right, or the sign of an axis, are exchanged")
    if rms > _MAX_RESIDUAL:
        worst = names[int(np.argmax(residuals * (prior > 0)))]
        raise AlignmentFault(
            f"the landmarks do not form a face: {rms:.1f} mm RMS from the template (at most {_MAX_RESIDUAL:g}), "
            f"worst {worst} with {residuals.max():.0f} mm"
        )


def _check_turn(rotation: np.ndarray) -> None:
    turn = np.degrees(np.arccos(np.clip(rotation[2, 2], -1, 1)))
    if turn > _MAX_TURN:
        raise AlignmentFault(
            f"the face is turned {turn:.0f} degrees from the camera (+z), at most {_MAX_TURN:g} can be used; "
            "if the scan is frontal, left and right of the landmarks are exchanged"
        )
