"""Lighting of a head, and its picture by a distant camera.

Preprocessing has a renderer of its own (`geometry.rendering`), which is measured against the truth drawn here; the
two share no code on purpose.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.ndimage

from afnet_jax.synthetic import template
from afnet_jax.synthetic.head import Head
from afnet_jax.synthetic.skin import look_up


@dataclasses.dataclass(frozen=True)
class Light:
    """One far lamp and the light of the room.

    Attributes:
        direction: (3,) unit vector towards the lamp.
        strength, room: of lamp and room, fractions.
        tint: (3,) factors of red, green and blue.
        gloss: of the skin.
    """

    direction: np.ndarray
    strength: float
    room: float
    tint: np.ndarray
    gloss: float


def draw_light(rng: np.random.Generator) -> Light:
    """A lamp somewhere before the face, at most about 60° off."""
    across, up = rng.uniform(-65, 65), rng.uniform(-20, 60)
    across, up = np.radians([across, up])
    direction = np.array([np.sin(across) * np.cos(up), np.sin(up), np.cos(across) * np.cos(up)])
    room = rng.uniform(0.2, 0.55)
    exposure = rng.uniform(0.75, 1.15)
    return Light(
        direction, exposure * (1.15 - room), exposure * room, rng.normal(1, [0.04, 0.02, 0.05]), rng.uniform(0, 0.25)
    )


def normals(head: Head) -> np.ndarray:
    """(R, C, 3) unit normals of the nodes, smooth across shut cuts and apart on the two sides of open ones."""
    skin = head.points[template.SKIN_ROWS]
    along = np.gradient(head.points, axis=1)
    whole = np.gradient(skin, axis=0)
    apart = whole.copy()
    order = {row: k for k, row in enumerate(template.SKIN_ROWS)}
    for row in (template.LOWER_LIP, template.LOWER_LID):
        k = order[row]
        apart[k], apart[k + 1] = skin[k] - skin[k - 1], skin[k + 2] - skin[k + 1]
    upwards = np.zeros_like(head.points)
    cut = (template.IN_MOUTH | template.IN_EYE)[0, :, None]
    upwards[template.SKIN_ROWS] = np.where(cut, apart, whole)
    normal = np.cross(along, upwards)
    for lining in (template.MOUTH_LINING, template.EYE_LINING):
        normal[lining] = [0.0, 0.0, 1.0]
    return normal / np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-9)


def shade(head: Head, normal: np.ndarray, light: Light) -> tuple[np.ndarray, np.ndarray]:
    """(R, C) factors of the paint's brightness, and (R, C) gloss to add to it."""
    facing = np.clip(normal @ light.direction, 0, None)
    height = head.points[template.SKIN_ROWS][..., 2]
    hollow = height - scipy.ndimage.gaussian_filter(height, (6, 6), mode="nearest")
    open_to_room = np.ones(template.SHAPE)
    open_to_room[template.SKIN_ROWS] = np.clip(1 + 0.06 * hollow, 0.45, 1.15)
    halfway = light.direction + np.array([0.0, 0.0, 1.0])
    gloss = light.gloss * np.clip(normal @ (halfway / np.linalg.norm(halfway)), 0, 1) ** 14
    return (light.room + light.strength * facing) * open_to_room, gloss


@dataclasses.dataclass(frozen=True)
class View:
    """The visible surface at each pixel of a picture. K node attributes.

    Attributes:
        seen: (H, W) bool.
        depth: (H, W) float32 height towards the camera, NaN where nothing is seen.
        values: (H, W, K) float32 attributes.
    """

    seen: np.ndarray
    depth: np.ndarray
    values: np.ndarray


def look(pixels: np.ndarray, height: np.ndarray, attributes: np.ndarray, shape: tuple[int, int]) -> View:
    """Draws the template's triangles into a picture with a z-buffer.

    Args:
        pixels: (R, C, 2) fractional (row, col) of the nodes in the picture.
        height: (R, C) towards the camera.
        attributes: (R, C, K), interpolated linearly.
        shape: (H, W).
    """
    nodes = np.concatenate([pixels, height[..., None]], axis=-1).reshape(-1, 3).astype(np.float32)
    corners, planes, low, high = _planes(nodes, template.triangles(), shape[0])
    which, row = _expanded(low, high)
    first, last = _spans(planes.take(which, axis=1), row.astype(np.float32), shape[1])
    line, col = _expanded(first, last)
    which, row = which[line], row[line]
    row_a, col_a, b_row, b_col, c_row, c_col, *heights = planes.take(which, axis=1)
    dr, dc = row.astype(np.float32) - row_a, col.astype(np.float32) - col_a
    b, c = b_row * dr + b_col * dc, c_row * dr + c_col * dc
    z = heights[0] + b * heights[1] + c * heights[2]
    pixel = row * np.int32(shape[1]) + col
    best = np.full(shape[0] * shape[1], -np.inf, np.float32)
    np.maximum.at(best, pixel, z)
    seen = np.isfinite(best)
    chosen = np.zeros(best.size, np.int32)
    winner = np.flatnonzero(z >= best[pixel])
    chosen[pixel[winner]] = winner
    k = chosen[seen]
    values = np.zeros((best.size, attributes.shape[-1]), np.float32)
    values[seen] = _mixed(attributes.reshape(-1, attributes.shape[-1]), corners[which[k]], b[k], c[k])
    depth = np.where(seen, best, np.nan)
    return View(seen.reshape(shape), depth.reshape(shape), values.reshape(*shape, -1))


def _expanded(first: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All (index, number) with first[index] <= number <= last[index], both int32."""
    count = np.maximum(last - first + 1, 0)
    index = np.repeat(np.arange(len(count), dtype=np.int32), count)
    return index, np.arange(len(index), dtype=np.int32) + (first - (np.cumsum(count) - count)).astype(np.int32)[index]


def _planes(nodes: np.ndarray, corners: np.ndarray, rows: int) -> tuple[np.ndarray, ...]:
    """Returns corners, planes, first and last pixel row of the triangles that face the camera.

    Planes are (9, T): row and col of corner a, slopes of b's and of c's weight along row and col, heights a, b−a, c−a.
    """
    a, b, c = (nodes[corners[:, k]] for k in range(3))
    low = np.maximum(np.ceil(np.minimum(np.minimum(a[:, 0], b[:, 0]), c[:, 0])), 0).astype(np.int32)
    high = np.minimum(np.floor(np.maximum(np.maximum(a[:, 0], b[:, 0]), c[:, 0])), rows - 1).astype(np.int32)
    b, c = b - a, c - a
    area = b[:, 0] * c[:, 1] - b[:, 1] * c[:, 0]
    # Rows may grow upwards or downwards; most of a face shows its front either way.
    kept = np.flatnonzero((area * np.sign(area.sum()) > 1e-6) & (high >= low))
    a, b, c, scale = a[kept], b[kept], c[kept], 1 / area[kept]
    slopes = np.stack([c[:, 1], -c[:, 0], -b[:, 1], b[:, 0]]) * scale
    planes = np.concatenate([a[:, :2].T, slopes, a[:, 2:].T, b[:, 2:].T, c[:, 2:].T])
    return corners[kept], planes, low[kept], high[kept]


def _spans(plane: np.ndarray, row: np.ndarray, cols: int) -> tuple[np.ndarray, np.ndarray]:
    """First and last pixel of a row that lie in a triangle: where all three weights are at least 0."""
    _, col_a, b_row, b_col, c_row, c_col, *_ = plane
    dr = row - plane[0]
    first, last = np.zeros_like(dr), np.full_like(dr, cols - 1)
    b, c = b_row * dr, c_row * dr
    for at_corner, slope in ((b, b_col), (c, c_col), (1 - b - c, -b_col - c_col)):
        steep = np.where(np.abs(slope) < 1e-9, np.float32(1e-9), slope)
        crossing = col_a - (at_corner + np.float32(1e-4)) / steep
        first = np.where(steep > 0, np.maximum(first, np.ceil(crossing)), first)
        last = np.where(steep < 0, np.minimum(last, np.floor(crossing)), last)
    return np.minimum(first, cols).astype(np.int32), np.maximum(last, -1).astype(np.int32)


def _mixed(attributes: np.ndarray, corners: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """(N, K) float32, interpolated one attribute at a time, which is quicker than all together."""
    first, second, third = np.ascontiguousarray(corners.T)
    mixed = np.empty((len(b), attributes.shape[-1]), np.float32)
    for k, values in enumerate(np.ascontiguousarray(attributes.T)):
        a = values.take(first)
        mixed[:, k] = a + b * (values.take(second) - a) + c * (values.take(third) - a)
    return mixed


def look_attributes(head: Head, light: Light) -> np.ndarray:
    """(R, C, 4) of the nodes, for `look` and `colours`: paint place, brightness, gloss."""
    brightness, gloss = shade(head, normals(head), light)
    return np.concatenate([head.paint, brightness[..., None], gloss[..., None]], axis=-1).astype(np.float32)


def colours(values: np.ndarray, sheet: np.ndarray, light: Light) -> np.ndarray:
    """(..., 3) uint8 RGB of interpolated `look_attributes`."""
    rgb = look_up(sheet, values[..., :2]) * values[..., 2:3] * light.tint.astype(np.float32)
    return np.clip(rgb + 255 * values[..., 3:4], 0, 255).astype(np.uint8)
