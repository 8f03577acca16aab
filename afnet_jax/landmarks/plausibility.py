"""How well found landmarks fit a face: a Gaussian prior over the landmarks of upright faces.

What the network places is a measurement, whose errors are known from the heads that it learnt from. They are taken for
larger where the network contradicts itself on the mirror image and where there is no surface. The landmarks given out
are the likeliest under both, so that one bad measurement gives way to where the others say that the landmark is.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.spatial.transform import Rotation

_POSES, _POSE_DEGREES, _POSE_MM = 4, 2.0, 1.5  # that each face of the prior is seen in; standard deviations
_ELSEWHERE = 1.0  # mm, standard deviation along each axis that errors on faces of other origins have beyond
_DOUBT = 1.0  # mm of it for each mm between the two placings
_OFF_SURFACE = 2.0  # mm of it for each mm to the nearest surface
_FURTHEST = 10.0  # mm: measurements that are off by more are mistakes, which are told by the others
_HALF_CONFIDENCE = 7.0  # mm between measurement and what the prior makes of it that halve the confidence


@dataclasses.dataclass(frozen=True)
class Prior:
    """Mean and covariance of the 22 landmarks of an upright face, x y z of the first landmark first.

    Attributes:
        mean: (66,) mm; covariance: (66, 66) mm².
        errors: (66, 66) mm², covariance of what the network is off.
    """

    mean: np.ndarray
    covariance: np.ndarray
    errors: np.ndarray


def fitted_prior(landmarks: np.ndarray, errors: np.ndarray, seed: int) -> Prior:
    """Returns the prior of (N, 22, 3) canonical landmarks, seen in poses that are a little off, as found ones are.

    Args:
        errors: (M, 22, 3) mm, what the network was off on faces of which the truth is known.
    """
    rng = np.random.default_rng(seed)
    turns = Rotation.from_rotvec(np.radians(rng.normal(0, _POSE_DEGREES, (_POSES * len(landmarks), 3)))).as_matrix()
    shifts = rng.normal(0, _POSE_MM, (len(turns), 1, 3))
    seen = np.tile(landmarks, (_POSES, 1, 1)) @ turns.swapaxes(1, 2) + shifts
    flat = seen.reshape(len(seen), -1)
    off = errors.reshape(len(errors), -1)
    off = (off - np.median(off, axis=0)).clip(-_FURTHEST, _FURTHEST)
    covariance = np.cov(flat, rowvar=False) + 0.5 * np.eye(flat.shape[1])
    return Prior(flat.mean(axis=0), covariance, np.cov(off, rowvar=False))


def judged(prior: Prior, seen: np.ndarray, disagreement: np.ndarray, gap: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighs measurements against the prior.

    Args:
        seen: (22, 3) canonical mm where the network and the surface place the landmarks.
        disagreement: (22,) mm between the network's two placings.
        gap: (22,) mm to the nearest surface.

    Returns:
        (22, 3) mm, the likeliest landmarks; (22,) confidence, 0 to 1.
    """
    doubt = np.repeat(_ELSEWHERE**2 + (_DOUBT * disagreement) ** 2 + (_OFF_SURFACE * gap) ** 2, 3)
    scale = np.ones(len(doubt))
    for _ in range(3):
        measured = (prior.errors + np.diag(doubt)) * np.outer(scale, scale)
        gain = np.linalg.solve(prior.covariance + measured, prior.covariance).T
        likely = (prior.mean + gain @ (seen.ravel() - prior.mean)).reshape(seen.shape)
        off = np.linalg.norm((seen - likely)[:, :2], axis=1)
        # Measurements that the others contradict count less: their deviation grows with what they are off.
        scale = np.repeat(np.sqrt(1 + (off / _HALF_CONFIDENCE) ** 2), 3)
    certain = np.exp2(-((off / _HALF_CONFIDENCE) ** 2)) * np.exp2(-((disagreement / _HALF_CONFIDENCE) ** 2))
    return likely, certain * np.exp2(-((gap / 10.0) ** 2))
