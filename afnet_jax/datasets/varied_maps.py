"""Maps of varied synthetic subjects, rendered straight from their surfaces: no scan and no gridfit lie between.

It takes about 20 ms to draw a face where scanning and preprocessing take 2 s, so that tens of thousands can be had.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.ndimage
from scipy.spatial.transform import Rotation

from afnet_jax.datasets.reduction import reduce_maps
from afnet_jax.geometry.alignment import AlignmentFault, align, to_canonical
from afnet_jax.geometry.rendering import Grid
from afnet_jax.landmarks.subjects import landmark_places
from afnet_jax.maps import IMAGE_SIZE, Maps
from afnet_jax.preprocessing.masks import salient_masks
from afnet_jax.preprocessing.pipeline import PreprocessingConfig, face_region
from afnet_jax.scans.scan import EXPRESSION_CODES, LANDMARKS
from afnet_jax.synthetic import picture, sensor, template, varied
from afnet_jax.synthetic.varied import VariedSubject

_MARK_NOISE = 0.9  # mm, standard deviation
_POSE_NOISE, _SHIFT_NOISE = 1.5, 1.0  # degrees, mm: other hands mark other places, and the pose follows them


@dataclasses.dataclass(frozen=True)
class VariedFace:
    """A face ready to learn from.

    Attributes:
        maps: the network's inputs of one scan.
        landmarks: (22, 3) canonical mm, in the order of LANDMARKS.
    """

    maps: Maps
    landmarks: np.ndarray


def draw_faces(number: int, seed: int, size: int) -> list[VariedFace]:
    """Draws a subject with each expression in the order of EXPRESSION_CODES; the same arguments give the same.

    Args:
        number: 0, 1, …: who of the population `seed`.
        size: edge of the images, pixels.
    """
    subject = varied.draw_subject(number, seed, 1 if size <= 96 else 2)
    return [
        draw_face(subject, code, np.random.default_rng([seed, number, k, 0x3E]), size)
        for k, code in enumerate(EXPRESSION_CODES)
    ]


def draw_face(subject: VariedSubject, expression: str, rng: np.random.Generator, size: int) -> VariedFace:
    """Draws one face of a subject."""
    while True:
        head = varied.draw_head(subject, expression, rng)
        try:
            points, marks = _in_canonical_pose(head.points, rng)
        except AlignmentFault:
            continue  # exaggerated beyond what counts as a face
        light = varied.draw_light(subject, rng)
        attributes = picture.look_attributes(head, light)
        crop = _crop(rng)[..., None]
        grid = _grid(2 * size if size <= 112 else size)
        row, col = grid.to_pixels(points.reshape(-1, 3))
        pixels = np.stack([row, col], axis=-1).reshape(*template.SHAPE, 2)
        view = picture.look(pixels, points[..., 2], np.concatenate([attributes, crop], axis=-1), (grid.size, grid.size))
        valid = face_region(view.seen & (view.values[..., 4] < 1)) & view.seen
        drawn = {
            "texture": _photographed(picture.colours(view.values, subject.sheet, light), valid, rng),
            "depth": _scanned(view.depth, valid, rng),
        }
        masks = salient_masks(marks, _grid(IMAGE_SIZE // 2))
        drawn |= {"mask1": masks[56], "mask2": masks[28]}
        return VariedFace(reduce_maps(drawn, grid.step, size), np.stack([marks[name] for name in LANDMARKS]))


def _grid(size: int) -> Grid:
    """The grid of preprocessing with so many pixels along an edge."""
    whole = PreprocessingConfig().grid
    step = whole.step * whole.size / size
    left, top = whole.origin[0] - whole.step / 2, whole.origin[1] + whole.step / 2
    return Grid(size, step, (left + step / 2, top - step / 2))


def _in_canonical_pose(points: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The nodes as preprocessing would lay them, by landmarks that were marked with errors; and these."""
    marks = template.interpolate(points, landmark_places())
    marked = marks + rng.normal(0, _MARK_NOISE, marks.shape)
    to_head = align(dict(zip(LANDMARKS, marked, strict=True)))
    turn = Rotation.from_rotvec(np.radians(rng.normal(0, _POSE_NOISE, 3))).as_matrix()
    shift = rng.normal(0, _SHIFT_NOISE, 3)
    points, marked = (to_canonical(at, to_head) @ turn.T + shift for at in (points, marked))
    return points, dict(zip(LANDMARKS, marked, strict=True))


def _crop(rng: np.random.Generator) -> np.ndarray:
    """(R, C) below 1 where the template belongs to the scan."""
    crop = sensor.draw_crop(rng) * rng.uniform(0.85, 1.25)
    if rng.random() < 0.3:  # cut straight: at the hair or the chin
        up = rng.uniform(58, 84)
        crop = np.where(up + rng.uniform(-0.2, 0.2) * template.X < template.Y, 2.0, crop)
    return crop


def _photographed(rgb: np.ndarray, valid: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(n, n, 3) uint8 as some camera would have taken it: its own gamma, saturation, sharpness and noise."""
    colour = rgb.astype(np.float32) / 255
    colour = np.where(valid[..., None], colour, 0)
    colour = _blurred(colour, valid, rng.uniform(0, 1.2) * rng.integers(0, 2))
    grey = colour.mean(axis=-1, keepdims=True)
    colour = np.clip(grey + rng.uniform(0.5, 1.3) * (colour - grey), 0, 1) ** rng.uniform(0.8, 1.25)
    colour = colour + rng.normal(0, rng.uniform(0, 0.03), colour.shape).astype(np.float32)
    return np.where(valid[..., None], np.clip(255 * colour, 0, 255), 0).astype(np.uint8)


def _scanned(depth: np.ndarray, valid: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(n, n) float32 mm as some scanner and a fit would have left it: smoothed and noisy; NaN outside the face."""
    smooth = _blurred(np.where(valid, depth, 0)[..., None], valid, rng.uniform(0, 1.6))[..., 0]
    noise = scipy.ndimage.gaussian_filter(rng.normal(0, 1, depth.shape), rng.uniform(0.5, 2))
    noise *= rng.uniform(0, 0.3) / max(noise.std(), 1e-6)
    return np.where(valid, smooth + noise, np.nan).astype(np.float32)


def _blurred(image: np.ndarray, valid: np.ndarray, sigma: float) -> np.ndarray:
    """(n, n, K) blurred within the face alone."""
    if sigma < 0.3:
        return image
    weight = scipy.ndimage.gaussian_filter(valid.astype(np.float32), sigma)
    total = scipy.ndimage.gaussian_filter(image.astype(np.float32) * valid[..., None], (sigma, sigma, 0))
    return total / np.maximum(weight, 1e-3)[..., None]
