"""Simple closed surfaces: what surrounds a face in a scan (skull, hair, neck, shoulders, ears), and what is no face.

A mesh is a pair of (N, 3) points, mm, and (T, 3) triangles, counter-clockwise from outside.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

Mesh = tuple[np.ndarray, np.ndarray]
_RINGS, _SECTORS = 22, 36


def joined(meshes: Sequence[Mesh]) -> Mesh:
    """Returns several meshes as one."""
    starts = np.cumsum([0, *(len(points) for points, _ in meshes)])
    triangles = [triangles + start for (_, triangles), start in zip(meshes, starts, strict=False)]
    return np.concatenate([points for points, _ in meshes]), np.concatenate(triangles)


@functools.cache
def _sphere() -> Mesh:
    polar, around = np.linspace(0.02, np.pi - 0.02, _RINGS), np.linspace(0, 2 * np.pi, _SECTORS + 1)
    y, angle = np.meshgrid(np.cos(polar), around, indexing="ij")
    radius = np.sqrt(1 - y**2)
    points = np.stack([radius * np.sin(angle), y, radius * np.cos(angle)], axis=-1).reshape(-1, 3)
    index = np.arange(len(points)).reshape(_RINGS, _SECTORS + 1)
    a, b, c, d = (part.ravel() for part in (index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]))
    return points, np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])


def blob(
    centre: npt.ArrayLike, radii: npt.ArrayLike, rng: np.random.Generator, roughness: float = 0.05, power: float = 1
) -> Mesh:
    """Returns an ellipsoid with an uneven surface.

    Args:
        centre, radii: mm along x, y and z.
        roughness: standard deviation of the unevenness as a share of the radii.
        power: below 1 the ellipsoid becomes a box with round edges.
    """
    points, triangles = _sphere()
    waves = np.zeros(len(points))
    for _ in range(6):
        direction, phase = rng.normal(0, 3.0, 3), rng.uniform(0, 2 * np.pi)
        waves += np.cos(points @ direction + phase)
    fine = rng.normal(0, 0.4 * roughness, len(points)) if roughness > 0.04 else 0.0
    shape = np.sign(points) * np.abs(points) ** power
    return shape * (1 + roughness * waves / 2.5 + fine)[:, None] * np.asarray(radii) + np.asarray(centre), triangles


def without(mesh: Mesh, inside: np.ndarray) -> Mesh:
    """Returns a mesh less the triangles that have a corner among the points marked by (N,) bool."""
    points, triangles = mesh
    return points, triangles[~inside[triangles].any(axis=1)]


def surroundings(size: float, rng: np.random.Generator) -> list[Mesh]:
    """Draws what a scan shows round a face of the template's frame, whose nose tip is at the origin.

    Args:
        size: of the head against the average.
    """
    parts = []
    if rng.random() < 0.85:
        parts.append(_skull(rng))
        parts.append(_neck(rng))
        parts += [_ear(side, rng) for side in (-1, 1)]
    if rng.random() < 0.65:
        parts.append(_hair(rng))
    if rng.random() < 0.5:
        parts += _shoulders(rng)
    if rng.random() < 0.15:
        parts.append(_beside(rng))
    return [(points * size, triangles) for points, triangles in parts]


def _in_face(points: np.ndarray, top: float, half_width: float) -> np.ndarray:
    x, y, z = points.T
    return (np.abs(x) < half_width) & (y > -98) & (y < top) & (z > -92)


def _skull(rng: np.random.Generator) -> Mesh:
    mesh = blob((0, 18, -104), rng.normal([76, 104, 92], [4, 7, 6]), rng, 0.01)
    return without(mesh, _in_face(mesh[0], 82, 68))


def _hair(rng: np.random.Generator) -> Mesh:
    """A rough shell over the skull, from stubble to long hair, that leaves the face free to a hairline."""
    thick = rng.uniform(2, 28)
    long = rng.random() < 0.4
    radii = np.array([77, 104 + 0.5 * thick, 92]) + thick * rng.uniform(0.5, 1, 3)
    centre = np.array([0.0, 18.0, -100.0])
    if long:
        radii[1] += rng.uniform(20, 90)
        centre[1] -= 0.6 * radii[1] - 60
    mesh = blob(centre, radii, rng, rng.uniform(0.01, 0.09))
    x, y, z = mesh[0].T
    hairline = rng.uniform(48, 88) - rng.uniform(0, 0.008) * x**2 + rng.uniform(-0.25, 0.25) * x
    free = (np.abs(x) < rng.uniform(50, 74)) & (y < hairline) & (z > -rng.uniform(85, 120))
    bare = ~np.full(len(x), long) & (y < rng.uniform(-70, 30))
    return without(mesh, free | bare)


def _neck(rng: np.random.Generator) -> Mesh:
    mesh = blob((0, rng.uniform(-190, -160), rng.uniform(-122, -102)), rng.normal([58, 115, 52], [5, 8, 5]), rng, 0.015)
    return without(mesh, mesh[0][:, 1] > -75)


def _ear(side: int, rng: np.random.Generator) -> Mesh:
    points, triangles = blob((0, 0, 0), rng.normal([7, 31, 18], [1.5, 3, 3]), rng, 0.09)
    turned = Rotation.from_euler("yx", [side * rng.uniform(15, 50), rng.uniform(-15, 15)], degrees=True).apply(points)
    place = np.array([side * rng.uniform(71, 80), rng.uniform(-6, 14), rng.uniform(-115, -96)])
    return turned + place, triangles


def _shoulders(rng: np.random.Generator) -> list[Mesh]:
    y, z = rng.uniform(-240, -195), rng.uniform(-130, -90)
    chest = blob((0, y - 60, z), rng.normal([190, 85, 95], [20, 12, 15]), rng, 0.03)
    yoke = blob((0, y, z - 15), rng.normal([150, 45, 60], [20, 8, 10]), rng, 0.04)
    return [chest, yoke]


def _beside(rng: np.random.Generator) -> Mesh:
    """A lump at the rim of the face: a hand, a collar, a headphone."""
    angle = rng.uniform(0, 2 * np.pi)
    place = np.array([95 * np.cos(angle), -10 + 120 * np.sin(angle), rng.uniform(-100, -20)])
    return blob(place, rng.uniform(12, 45, 3), rng, 0.12)


def thing(rng: np.random.Generator) -> Mesh:
    """Draws a surface that is no face: lumps, boxes, sheets, an ear, shoulders, or a head without a face."""
    kind = rng.integers(6)
    if kind == 0:
        return joined([blob(rng.normal(0, 50, 3), rng.uniform(15, 120, 3), rng, rng.uniform(0, 0.2))
                       for _ in range(rng.integers(1, 7))])  # fmt: skip
    if kind == 1:
        return joined([blob(rng.normal(0, 40, 3), rng.uniform(20, 120, 3), rng, rng.uniform(0, 0.02), 0.15)
                       for _ in range(rng.integers(1, 4))])  # fmt: skip
    if kind == 2:
        return _sheet(rng)
    if kind == 3:
        points, triangles = _ear(1, rng)
        return joined([(points - points.mean(axis=0), triangles), _sheet(rng)])
    if kind == 4:
        return joined([_neck(rng), *_shoulders(rng)])
    return joined(
        [blob((0, 18, -104), rng.normal([78, 106, 94], [6, 9, 8]), rng, rng.uniform(0.005, 0.05)), _neck(rng)]
    )


def _sheet(rng: np.random.Generator) -> Mesh:
    """A height field of waves of several lengths."""
    axis = np.linspace(-110, 110, 56)
    x, y = np.meshgrid(axis, axis)
    z = np.zeros_like(x)
    for _ in range(rng.integers(1, 14)):
        wave, phase = rng.normal(0, 1, 2) / rng.uniform(8, 80), rng.uniform(0, 2 * np.pi)
        z += np.cos(wave[0] * x + wave[1] * y + phase) * rng.uniform(0.5, 14)
    z += rng.normal(0, rng.uniform(0, 4), z.shape)
    index = np.arange(x.size).reshape(x.shape)
    a, b, c, d = (part.ravel() for part in (index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]))
    triangles = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])
    return np.stack([x, y, z], axis=-1).reshape(-1, 3), triangles
