"""Effects of scanning: pose before the scanner, crop, noise, spikes and holes."""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.spatial
from scipy.spatial.transform import Rotation

from afnet_jax.synthetic.template import ARC, Y

NOISE = 0.2, 0.4  # mm, least and greatest standard deviation of a scan
SPIKES, SPIKE_HEIGHT = (24, 60), (5.0, 40.0)  # points of a scan; mm off the surface
HOLES, HOLE_RADIUS = (4, 8), (1.5, 4.5)  # of a scan; mm
_MOST_TURNED = np.array([8.0, 8.0, 6.0])  # degrees about x, y and z
_HAIRY = ((-31, 47), (31, 47), (0, -38), (-16, -40), (16, -40))  # template places where scanners lose the surface


@dataclasses.dataclass(frozen=True)
class Pose:
    """p_scan = rotation @ p + translation, mm."""

    rotation: np.ndarray
    translation: np.ndarray

    def apply(self, points: np.ndarray) -> np.ndarray:
        return points @ self.rotation.T + self.translation


def draw_pose(rng: np.random.Generator) -> Pose:
    """A few degrees about each axis; the scanner's origin is not the nose tip."""
    degrees = np.clip(rng.normal(0, [3.0, 3.5, 2.0]), -_MOST_TURNED, _MOST_TURNED)
    return Pose(Rotation.from_euler("xyz", degrees, degrees=True).as_matrix(), rng.normal([0, -45, 10], [6, 8, 18]))


def draw_crop(rng: np.random.Generator) -> np.ndarray:
    """(R, C) below 1 where the template belongs to the scan: an egg with an uneven rim."""
    across, up = ARC / 83, (Y + 3) / np.where(Y > -3, 89, 92)
    angle = np.arctan2(up, across)
    waves = sum(
        rng.normal(0, 0.02) * np.cos(k * angle + phase) for k, phase in enumerate(rng.uniform(0, 6.3, 6), start=1)
    )
    taper = np.abs(across) / (1 - 0.16 * np.clip(-up, 0, 1) ** 2)
    return (taper**2.5 + np.abs(up) ** 2.5) ** 0.4 + waves + rng.normal(0, 0.012)


def noisy(points: np.ndarray, directions: np.ndarray, spared: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Points moved along their (N, 3) unit directions by white noise, and some of them far off as spikes.

    Args:
        spared: (N,) bool, points that are no spikes: those that someone marks as landmarks.
    """
    offset = rng.normal(0, rng.uniform(*NOISE), len(points))
    spikes = rng.choice(np.flatnonzero(~spared), rng.integers(SPIKES[0], SPIKES[1] + 1), replace=False)
    heights = rng.uniform(*SPIKE_HEIGHT, len(spikes)) * rng.choice([-1, 1], len(spikes), p=[0.25, 0.75])
    offset[spikes] = heights
    return points + offset[:, None] * directions


def in_holes(points: np.ndarray, template_places: np.ndarray, spared: np.ndarray, rng: np.random.Generator):
    """(N,) bool: points in one of a few round holes, about half of them at mouth and brows.

    Args:
        template_places: (N, 2) template (arc, y) of the points.
        spared: (K, 3) landmarks, which stay outside of every hole.
    """
    tree, marks = scipy.spatial.cKDTree(points), scipy.spatial.cKDTree(spared)
    lost = np.zeros(len(points), bool)
    for k in range(rng.integers(HOLES[0], HOLES[1] + 1)):
        candidates = rng.permutation(len(points))[:200]
        if k % 2 == 0:
            near = _HAIRY[rng.integers(len(_HAIRY))] + rng.normal(0, 3, (8, 2))
            candidates = scipy.spatial.cKDTree(template_places).query(near)[1]
        room = marks.query(points[candidates])[0] - 0.3
        free = np.flatnonzero(room > HOLE_RADIUS[0])
        if len(free):
            radius = min(rng.uniform(*HOLE_RADIUS), room[free[0]])
            lost[tree.query_ball_point(points[candidates[free[0]]], radius)] = True
    return lost
