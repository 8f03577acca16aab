"""Orthographic view of a textured mesh from the front: which triangle each pixel sees, and its colour there."""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.ndimage
from PIL import Image

from afnet_jax.geometry.cameras import chart_of_triangles, photographed

_SAMPLES = 3  # along each edge of a pixel
_MAX_REACH = 2.0  # times the usual texels per pixel that one pixel averages over
_CAMERA_ERROR = 1.0  # pixels by which a chart may differ from a camera's view and still be a photograph


@dataclasses.dataclass(frozen=True)
class Grid:
    """Square orthographic pixel grid: pixel (row, col) is x = origin[0] + col·step, y = origin[1] − row·step.

    Attributes:
        size: pixels along an edge.
        step: mm per pixel.
        origin: canonical (x, y) of pixel (0, 0), mm.
    """

    size: int
    step: float
    origin: tuple[float, float]

    def to_pixels(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Fractional (row, col) of (N, ≥2) canonical points."""
        return (self.origin[1] - points[:, 1]) / self.step, (points[:, 0] - self.origin[0]) / self.step

    @property
    def x(self) -> np.ndarray:
        return self.origin[0] + self.step * np.arange(self.size)

    @property
    def y(self) -> np.ndarray:
        """y of the rows from the top, decreasing."""
        return self.origin[1] - self.step * np.arange(self.size)


@dataclasses.dataclass(frozen=True)
class Raster:
    """The visible surface at each pixel of a grid.

    Attributes:
        triangle: (size, size) int32 index of the foremost triangle, −1 where there is none.
        weights: (size, size, 3) float64 barycentric coordinates of the pixel's centre in it.
        depth: (size, size) float64 height of the mesh there, NaN where there is none.
    """

    triangle: np.ndarray
    weights: np.ndarray
    depth: np.ndarray

    @property
    def seen(self) -> np.ndarray:
        return self.triangle >= 0


def rasterize(points: np.ndarray, triangles: np.ndarray, grid: Grid) -> Raster:
    """Finds the foremost triangle under every pixel centre (z-buffer).

    Triangles that turn their back to the viewer hide what lies behind them, but are themselves not seen.

    Args:
        points: (N, 3) canonical mm.
        triangles: (T, 3) indices, counter-clockwise seen from the front.
    """
    row, col = grid.to_pixels(points)
    rows, cols, heights = row[triangles], col[triangles], points[:, 2][triangles]
    which, pixel_row, pixel_col = _covered_boxes(rows, cols, grid.size)
    weights, area = _barycentric(rows[which], cols[which], pixel_row, pixel_col)
    inside = (np.minimum(np.minimum(weights[:, 0], weights[:, 1]), weights[:, 2]) >= -1e-9) & (area != 0)
    which, weights, area = which[inside], weights[inside], area[inside]
    pixel = pixel_row[inside] * grid.size + pixel_col[inside]
    depth = np.einsum("kt,kt->k", weights, heights[which])
    order = np.argsort(depth, kind="stable")  # of the writes to one pixel, the last and foremost stays
    foremost = np.full(grid.size**2, -1)
    foremost[pixel[order]] = order
    hit = np.flatnonzero(foremost >= 0)
    hit = hit[area[foremost[hit]] > 0]
    chosen = foremost[hit]
    triangle = np.full(grid.size**2, -1, np.int32)
    full_weights, full_depth = np.zeros((grid.size**2, 3)), np.full(grid.size**2, np.nan)
    triangle[hit], full_weights[hit], full_depth[hit] = which[chosen], weights[chosen], depth[chosen]
    shape = (grid.size, grid.size)
    return Raster(triangle.reshape(shape), full_weights.reshape(*shape, 3), full_depth.reshape(shape))


def _covered_boxes(rows: np.ndarray, cols: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All pairs of a triangle and a pixel centre in its bounding box: (triangle, row, col)."""
    (top, bottom), (left, right) = _pixel_range(rows, size), _pixel_range(cols, size)
    height, width = np.maximum(bottom - top + 1, 0).astype(int), np.maximum(right - left + 1, 0).astype(int)
    count = height * width
    which = np.repeat(np.arange(len(rows)), count)
    within = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
    down, across = np.divmod(within, width[which]) if len(which) else (within, within)
    return which, top[which].astype(int) + down, left[which].astype(int) + across


def _pixel_range(corners: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """First and last pixel centre between the least and the greatest of (T, 3) coordinates."""
    a, b, c = corners.T
    first, last = np.ceil(np.minimum(np.minimum(a, b), c)), np.floor(np.maximum(np.maximum(a, b), c))
    return np.maximum(first, 0), np.minimum(last, size - 1)


def _barycentric(rows, cols, row, col) -> tuple[np.ndarray, np.ndarray]:
    """(K, 3) coordinates of pixels in triangles given by (K, 3) corner rows and columns, and signed doubled areas.

    The area is positive where the triangle runs counter-clockwise as seen (rows grow downwards).
    """
    ax, ay = cols[:, 0] - col, row - rows[:, 0]
    bx, by = cols[:, 1] - col, row - rows[:, 1]
    cx, cy = cols[:, 2] - col, row - rows[:, 2]
    parts = np.stack([bx * cy - by * cx, cx * ay - cy * ax, ax * by - ay * bx], axis=1)
    area = parts.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(area[:, None] != 0, parts / area[:, None], -1.0), area


@dataclasses.dataclass(frozen=True)
class TexturedMesh:
    """A mesh in the canonical frame with its texture; fields as in Scan."""

    points: np.ndarray
    triangles: np.ndarray
    uv: np.ndarray
    uv_triangles: np.ndarray
    texture: np.ndarray


def render_texture(
    mesh: TexturedMesh, raster: Raster, heights: np.ndarray, valid: np.ndarray, grid: Grid
) -> np.ndarray:
    """Colour under each pixel of the face, averaged over _SAMPLES × _SAMPLES places in it.

    Every place is looked up in the texture image through the map of the pixel's own triangle, never through
    vertex colours. Pixels without a triangle show what the photograph shows there, if the texture image is one,
    else the colours round them.

    Args:
        raster: of the mesh on the grid.
        heights: (size, size) mm of the finished surface.
        valid: (size, size) bool, the face.

    Returns:
        (size, size, 3) float32 in 0 … 255; 0 outside the face.
    """
    at = raster.seen & valid
    index = raster.triangle[at]
    corners = mesh.uv[mesh.uv_triangles[index]].astype(np.float64) * mesh.texture.shape[1::-1]
    slopes = _barycentric_slopes(mesh.points[mesh.triangles[index]], grid.step)
    jacobian = np.einsum("ktc,ktd->kcd", corners, slopes)
    texels = np.einsum("kt,ktc->kc", raster.weights[at], corners)
    # Never 0, as where most triangles share one texture point.
    texels_per_pixel = max(float(np.median(np.abs(jacobian).max(axis=(1, 2)))), 1e-9)
    picture = np.zeros((*at.shape, 3), np.float32)
    known = at.copy()
    missing = valid & ~at
    if missing.any():
        space = np.dstack([*np.meshgrid(grid.x, grid.y), heights])
        charts = chart_of_triangles(mesh.uv_triangles, len(mesh.uv))[index]
        places = photographed(space, at, texels, charts, missing, _CAMERA_ERROR * texels_per_pixel)
        found = np.isfinite(places).all(axis=1)
        known[missing] = found
        isotropic = np.broadcast_to(np.eye(2) * texels_per_pixel, (found.sum(), 2, 2))
        picture[missing & known] = _averaged(mesh.texture, places[found], isotropic, texels_per_pixel)
    picture[at] = _averaged(mesh.texture, texels, jacobian, texels_per_pixel)
    rest = valid & ~known
    return inpaint(picture, known, rest) if rest.any() else picture


def _averaged(texture: np.ndarray, texels: np.ndarray, jacobian: np.ndarray, texels_per_pixel: float) -> np.ndarray:
    """(K, 3) means of the texture over pixels centred at (K, 2) texels, whose sides are the jacobian's columns.

    A pixel that looks at a steep triangle would reach far along it, past its end: its reach is bounded.
    """
    reach = np.abs(jacobian).max(axis=(1, 2)) / (_MAX_REACH * texels_per_pixel)
    jacobian = jacobian / np.maximum(reach, 1)[:, None, None]
    image, factor = _shrunk(texture, texels_per_pixel / _SAMPLES)
    colour = np.zeros((len(texels), 3), np.float32)
    places = (np.arange(_SAMPLES) + 0.5) / _SAMPLES - 0.5
    for down in places:
        for across in places:
            place = (texels + jacobian[:, :, 0] * across + jacobian[:, :, 1] * down) / factor - 0.5
            colour += _bilinear(image, place[:, 0], place[:, 1])
    return colour / _SAMPLES**2


def sample_texture(texture: np.ndarray, uv: np.ndarray, texels: float) -> np.ndarray:
    """Returns the (K, 3) float32 colours of (K, 2) texture points, each a mean over about `texels` texels' edge."""
    image, factor = _shrunk(texture, texels)
    place = uv * texture.shape[1::-1] / factor - 0.5
    return _bilinear(image, place[:, 0], place[:, 1])


def _barycentric_slopes(corners: np.ndarray, step: float) -> np.ndarray:
    """(K, 3, 2) change of the barycentric coordinates per pixel to the right and per pixel down."""
    x, y = corners[:, :, 0] / step, -corners[:, :, 1] / step
    area = (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (x[:, 2] - x[:, 0]) * (y[:, 1] - y[:, 0])
    along_x = np.stack([y[:, 1] - y[:, 2], y[:, 2] - y[:, 0], y[:, 0] - y[:, 1]], axis=1)
    along_y = np.stack([x[:, 2] - x[:, 1], x[:, 0] - x[:, 2], x[:, 1] - x[:, 0]], axis=1)
    return np.stack([along_x, along_y], axis=2) / area[:, None, None]


def _shrunk(texture: np.ndarray, texels: float) -> tuple[np.ndarray, int]:
    """The texture averaged down so that neighbouring samples, `texels` apart, miss nothing between them."""
    factor = min(max(round(texels), 1), min(texture.shape[:2]) // 2)  # two rows and columns must be left
    if factor <= 1:
        return texture, 1
    return np.asarray(Image.fromarray(texture).reduce(factor)), factor


def _bilinear(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(K, 3) float32 colours at columns x and rows y (pixel centres at integers), clamped at the border."""
    height, width = image.shape[:2]
    x, y = np.clip(x, 0, width - 1.001).astype(np.float32), np.clip(y, 0, height - 1.001).astype(np.float32)
    left, top = x.astype(np.int32), y.astype(np.int32)
    fx, fy = (x - left)[:, None], (y - top)[:, None]
    flat, at = image.reshape(-1, 3), top * width + left
    upper = flat[at] * (1 - fx) + flat[at + 1] * fx
    lower = flat[at + width] * (1 - fx) + flat[at + width + 1] * fx
    return upper * (1 - fy) + lower * fy


def inpaint(picture: np.ndarray, known: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Carries colours smoothly over pixels that are not known: averages of ever wider surroundings, the narrowest
    that holds a known pixel first.

    Args:
        picture: (H, W, C) float32.
        known: (H, W) bool, pixels whose colour counts.
        wanted: (H, W) bool, pixels to fill; those with next to no known pixel anywhere near stay as they are.
    """
    weight = known.astype(np.float32)
    weighted, result, missing = picture * weight[..., None], picture.copy(), wanted.copy()
    for sigma in (1.0, 2.0, 4.0, 8.0, 16.0, 64.0):
        total = scipy.ndimage.gaussian_filter(weight, sigma, truncate=3)
        reached = missing & (total > 0.05)
        if reached.any():
            mean = scipy.ndimage.gaussian_filter(weighted, (sigma, sigma, 0), truncate=3)
            result[reached] = mean[reached] / total[reached][:, None]
            missing &= ~reached
        if not missing.any():
            break
    return result
