"""The two databases' scanners, simulated on a synthetic head: a free mesh with a two-view texture, and a range grid."""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.spatial

from afnet_jax.scans import bu3dfe
from afnet_jax.scans.range_grid import grid_triangles
from afnet_jax.scans.scan import Scan, ScanId
from afnet_jax.synthetic import picture, sensor, template
from afnet_jax.synthetic.head import Head, is_mouth_lining
from afnet_jax.synthetic.picture import Light
from afnet_jax.synthetic.sensor import Pose
from afnet_jax.synthetic.template import ABOVE_EYES, ABOVE_MOUTH, ARC, EYE_LINE, MOUTH_LINE, SHAPE, Y

_EDGE = 2.0  # mm between the vertices of a free mesh, laid out flat
_ATLAS = 450, 630  # pixels
_CAMERA_TURN = np.radians(38.0)  # of each of the two cameras, to the side
_BACKGROUND = np.array([38, 42, 50], np.uint8)
_GRID_STEP = 0.76  # mm
_PIXELS_PER_STEP = 2
_UNSEEN_DEPTH = 6.0  # mm behind the lips: scanners see no farther into a mouth


@dataclasses.dataclass(frozen=True)
class Subject:
    """The scanned subject: the head, its paint and the light on it.

    Attributes:
        head: the clean surface.
        attributes: (R, C, 4) of `picture.look_attributes`.
        normals: (R, C, 3) unit vectors.
        sheet: of `skin.paint_person`.
        light: the lamp.
        crop: (R, C) below 1 where the scan reaches.
        pose: of the head before the scanner.
    """

    head: Head
    attributes: np.ndarray
    normals: np.ndarray
    sheet: np.ndarray
    light: Light
    crop: np.ndarray
    pose: Pose

    def posed(self) -> np.ndarray:
        """(R, C, 3) nodes in the scanner's frame."""
        return self.pose.apply(self.head.points)

    def photograph(self, pixels: np.ndarray, height: np.ndarray, shape: tuple[int, int]) -> picture.View:
        """Returns the result of `picture.look`, with the crop as the last value."""
        return picture.look(pixels, height, np.concatenate([self.attributes, self.crop[..., None]], axis=-1), shape)

    def colours(self, view: picture.View) -> np.ndarray:
        """(H, W, 3) uint8, background where nothing is seen."""
        rgb = np.broadcast_to(_BACKGROUND, (*view.seen.shape, 3)).copy()
        rgb[view.seen] = picture.colours(view.values[view.seen], self.sheet, self.light)
        return rgb


def front_view(subject: Subject, step: float) -> tuple[picture.View, float, float]:
    """The posed head seen along −z on a grid of `step` mm whose row 0 is the lowest: (view, x0, y0)."""
    posed = subject.posed()
    inside = posed[subject.crop < 1]
    x0, y0 = np.floor(inside[:, :2].min(axis=0)) - 1
    rows, cols = (int(n) for n in np.ceil((inside[:, :2].max(axis=0) + 1 - [x0, y0]) / step)[::-1] + 1)
    pixels = (posed[..., 1::-1] - [y0, x0]) / step
    return subject.photograph(pixels, posed[..., 2], (rows, cols)), float(x0), float(y0)


def bu3dfe_scan(subject: Subject, identity: ScanId, rng: np.random.Generator, clean: bool) -> Scan:
    """Scans as BU-3DFE's scanner did: irregular triangles of about 2.2 mm, two cameras for the texture.

    Args:
        clean: without noise, spikes and holes, otherwise the same.
    """
    places, triangles = _irregular_mesh(subject, rng)
    truth = template.interpolate(subject.posed(), places)
    marks = template.interpolate(subject.posed(), template.bu3dfe_places())
    points = truth
    if not clean:
        normal = template.interpolate(subject.normals, places) @ subject.pose.rotation.T
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        points = sensor.noisy(truth, normal, np.arange(len(truth)) < len(marks), rng)
        paint = template.interpolate(subject.head.paint, places)
        lost = _deep_in_mouth(subject, truth, paint) | sensor.in_holes(truth, paint, marks, rng)
        triangles = triangles[~lost[triangles].any(axis=1)]
    used, triangles = np.unique(triangles, return_inverse=True)
    triangles = triangles.reshape(-1, 3).astype(np.int32)
    nearest = scipy.spatial.cKDTree(truth[used]).query(marks)[1]
    landmarks = dict(zip(bu3dfe.POINT_NAMES, points[used][nearest], strict=True))
    landmarks |= {name: np.mean([landmarks[p] for p in parts], axis=0) for name, parts in bu3dfe.COMMON.items()}
    texture, uv, uv_triangles = _two_views(subject, places[used], triangles)
    return Scan(identity, points[used], triangles, uv, uv_triangles, texture, landmarks)


def _deep_in_mouth(subject: Subject, points: np.ndarray, paint: np.ndarray) -> np.ndarray:
    """(N,) bool: points of the mouth's lining that lie too far behind the lips to be scanned."""
    lip = subject.posed()[template.UPPER_LIP, SHAPE[1] // 2, 2]
    return is_mouth_lining(paint) & (points[:, 2] < lip - _UNSEEN_DEPTH)


def _irregular_mesh(subject: Subject, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Fractional (row, col) of vertices, the 83 landmarks first, and triangles between them.

    The template is laid out flat with its cuts as open as the face shows them, so that a Delaunay triangulation of
    points scattered over it neither crosses a mouth that stands open nor crowds into one that is shut.
    """
    flat = _laid_out(subject.head)
    marks = template.bu3dfe_places()
    mark_spots = template.interpolate(flat, marks)
    spots = _jittered_lattice(flat, rng)
    spots = spots[scipy.spatial.cKDTree(mark_spots).query(spots)[0] > 0.45 * _EDGE]
    places = np.concatenate([marks, _located(flat[..., 1], spots)])
    spots = np.concatenate([mark_spots, spots])
    kept = template.interpolate(subject.crop[..., None], places)[:, 0] < 1
    kept[: len(marks)] = True
    places, spots = places[kept], spots[kept]
    triangles = scipy.spatial.Delaunay(spots).simplices
    a, b, c = (spots[triangles[:, k]] for k in range(3))
    u, v = b - a, c - a
    turned = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0] < 0
    triangles[turned] = triangles[turned][:, ::-1]
    longest = np.max([np.linalg.norm(e, axis=1) for e in (u, v, c - b)], axis=0)
    return places, triangles[longest < 3 * _EDGE]


def _laid_out(head: Head) -> np.ndarray:
    """(R, C, 2) flat places of the nodes: arc, and y with each cut pushed open by the aperture."""
    up = np.broadcast_to(Y, SHAPE).copy()
    for lining, line, above, reach in (
        (template.MOUTH_LINING, MOUTH_LINE, ABOVE_MOUTH, 40.0),
        (template.EYE_LINING, EYE_LINE, ABOVE_EYES, 14.0),
    ):
        half = np.maximum(head.aperture[lining[0]], 0) / 2
        up += np.where(above, half, -half) * np.clip(1 - np.abs(Y - line) / reach, 0, 1)
        up[lining] = line + half * np.linspace(-1, 1, len(lining))[:, None]
    return np.stack([np.broadcast_to(ARC, SHAPE), up], axis=-1)


def _jittered_lattice(flat: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(N, 2) points of a hexagonal lattice over the layout, each pushed a little."""
    low, high = flat.reshape(-1, 2).min(axis=0) + 1, flat.reshape(-1, 2).max(axis=0) - 1
    rows = np.arange(low[1], high[1], _EDGE * np.sqrt(0.75))
    across = np.arange(low[0], high[0] - _EDGE, _EDGE)
    x = across + _EDGE * (np.arange(len(rows)) % 2)[:, None] / 2 + rng.uniform(0, 0.5)
    lattice = np.stack([x, np.broadcast_to(rows[:, None], x.shape)], axis=-1).reshape(-1, 2)
    return lattice + rng.normal(0, 0.17 * _EDGE, lattice.shape).clip(-0.4 * _EDGE, 0.4 * _EDGE)


def _located(up: np.ndarray, spots: np.ndarray) -> np.ndarray:
    """(N, 2) fractional (row, col) of flat places; up: (R, C) flat y of the nodes, rising along the rows."""
    col = np.interp(spots[:, 0], ARC[0], np.arange(SHAPE[1]))
    left = np.minimum(col.astype(int), SHAPE[1] - 2)
    share = col - left

    def height(row: np.ndarray) -> np.ndarray:
        return up[row, left] * (1 - share) + up[row, left + 1] * share

    rows_below, most = np.zeros(len(spots), int), np.full(len(spots), SHAPE[0])
    while (rows_below < most).any():  # by bisection
        middle = (rows_below + most) // 2
        is_below = (middle < most) & (height(np.minimum(middle, SHAPE[0] - 1)) <= spots[:, 1])
        rows_below, most = np.where(is_below, middle + 1, rows_below), np.where(is_below, most, middle)
    row = np.clip(rows_below - 1, 0, SHAPE[0] - 2)
    below, above = height(row), height(row + 1)
    fraction = (spots[:, 1] - below) / np.maximum(above - below, 1e-6)
    return np.stack([row + np.clip(fraction, 0, 1), col], axis=1)


def _two_views(
    subject: Subject, places: np.ndarray, triangles: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Texture, its points and their triangles: right half the x < 0 side upright, left half the other upside down."""
    height, width = _ATLAS
    texture = np.empty((height, width, 3), np.uint8)
    centre = template.interpolate(np.broadcast_to(ARC, SHAPE)[..., None], places)[triangles, 0].mean(axis=1)
    uv, uv_triangles, count = [], np.empty_like(triangles), 0
    for side, mine in ((-1, centre < 0), (1, centre >= 0)):
        used, corners = np.unique(triangles[mine], return_inverse=True)
        pixels, depth = _camera(subject, side)
        view = subject.colours(subject.photograph(pixels, depth, (height, width // 2)))
        at = template.interpolate(pixels, places[used])[:, ::-1] + 0.5
        if side < 0:
            texture[:, width // 2 :] = view
            at[:, 0] += width // 2
        else:
            texture[:, : width // 2] = view[::-1, ::-1]
            at = [width // 2, height] - at
        uv.append(at / [width, height])
        uv_triangles[mine] = corners.reshape(-1, 3) + count
        count += len(used)
    return texture, np.concatenate(uv).astype(np.float32), uv_triangles


def _camera(subject: Subject, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (row, col) and height of the nodes before the camera on the subject's right (−1) or left (1)."""
    turn = side * _CAMERA_TURN
    points = subject.head.points
    across = points[..., 0] * np.cos(turn) - points[..., 2] * np.sin(turn)
    depth = points[..., 0] * np.sin(turn) + points[..., 2] * np.cos(turn)
    flat = np.stack([-points[..., 1], across], axis=-1)
    inside = flat[subject.crop < 1.02]
    low, high = inside.min(axis=0), inside.max(axis=0)
    scale = ((np.array([_ATLAS[0], _ATLAS[1] // 2]) - 9) / (high - low)).min()
    return (flat - low) * scale + 4, depth


def bosphorus_scan(subject: Subject, identity: ScanId, rng: np.random.Generator, clean: bool) -> Scan:
    """Scans as Bosphorus' scanner did: a range grid of 0.76 mm and one picture seen along the same direction."""
    view, x0, y0 = front_view(subject, _GRID_STEP / _PIXELS_PER_STEP)
    every = slice(None, None, _PIXELS_PER_STEP)
    surface = view.seen[every, every] & (view.values[every, every, 4] < 1)
    row, col = np.nonzero(surface)
    points = np.stack([x0 + col * _GRID_STEP, y0 + row * _GRID_STEP, view.depth[every, every][surface]], axis=1)
    marks = template.interpolate(subject.posed(), np.array(list(template.common_places().values())))
    landmark_points = scipy.spatial.cKDTree(points).query(marks)[1]
    if not clean:
        spared = np.zeros(len(points), bool)
        spared[landmark_points] = True
        paint = view.values[every, every, :2][surface]
        lost = (_deep_in_mouth(subject, points, paint) | sensor.in_holes(points, paint, marks, rng)) & ~spared
        points = sensor.noisy(points, np.array([[0.0, 0.0, 1.0]]), spared, rng)
        surface[row[lost], col[lost]] = False
    landmarks = dict(zip(template.common_places(), points[landmark_points], strict=True))
    points, row, col = (each[surface[row, col]] for each in (points, row, col))
    grid = np.full(surface.shape, -1, np.int32)
    grid[row, col] = np.arange(len(points))
    height, width = view.seen.shape
    uv = np.stack([(col * _PIXELS_PER_STEP + 0.5) / width, 1 - (row * _PIXELS_PER_STEP + 0.5) / height], axis=1)
    texture = np.ascontiguousarray(subject.colours(view)[::-1])
    triangles = grid_triangles(grid)
    return Scan(identity, points, triangles, uv.astype(np.float32), triangles, texture, landmarks, grid=grid)
