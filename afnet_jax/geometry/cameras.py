"""The cameras behind a texture image, recovered from the texture map itself.

A texture image is one photograph or several side by side, and the texture map is what their cameras saw. Each
connected chart of the map gives its camera by the direct linear transform (Hartley & Zisserman 2004, section 7.1).
With it, places that were not scanned, such as the inside of an open mouth, get the colours that the photograph shows.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.ndimage
import scipy.sparse
import scipy.sparse.csgraph

_MOST_POINTS = 1500  # per chart; 11 unknowns need no more
_FEWEST_POINTS = 50
# Of what is seen, that a photograph shows at least: a piece of an atlas is so flat that some camera always fits it.
_LEAST_SHARE = 0.15


@dataclasses.dataclass(frozen=True)
class Camera:
    """A projection of canonical mm onto the texture image.

    Attributes:
        matrix: (3, 4), homogeneous texel (column, row) = matrix @ (x, y, z, 1).
        error: 95th percentile of the distance between the texture map and the projection, texels.
    """

    matrix: np.ndarray
    error: float

    def project(self, points: np.ndarray) -> np.ndarray:
        """(N, 3) mm -> (N, 2) texels."""
        image = points @ self.matrix[:, :3].T + self.matrix[:, 3]
        return image[:, :2] / image[:, 2:]


def chart_of_triangles(uv_triangles: np.ndarray, count: int) -> np.ndarray:
    """(T,) which connected chart of the texture map each triangle belongs to, of `count` texture points."""
    edges = uv_triangles[:, [0, 1, 1, 2]].reshape(-1, 2)
    ones = np.ones(len(edges), dtype=bool)
    graph = scipy.sparse.coo_array((ones, (edges[:, 0], edges[:, 1])), shape=(count, count)).tocsr()
    _, chart = scipy.sparse.csgraph.connected_components(graph, directed=False)
    return chart[uv_triangles[:, 0]]


def find_camera(points: np.ndarray, texels: np.ndarray) -> Camera | None:
    """Fits a camera to (N, 3) mm and the (N, 2) texels they are seen at; None where they are too few."""
    if len(points) < _FEWEST_POINTS:
        return None
    thin = slice(None, None, max(1, len(points) // _MOST_POINTS))
    points, texels = points[thin], texels[thin]
    space, image = _normalisation(points), _normalisation(texels)
    p = np.column_stack([points, np.ones(len(points))]) @ space.T
    q = np.column_stack([texels, np.ones(len(texels))]) @ image.T
    nothing = np.zeros_like(p)
    rows = np.vstack(
        [np.hstack([p, nothing, -q[:, :1] * p]), np.hstack([nothing, p, -q[:, 1:2] * p])],
    )
    _, vectors = np.linalg.eigh(rows.T @ rows)
    camera = Camera(np.linalg.inv(image) @ vectors[:, 0].reshape(3, 4) @ space, 0.0)
    error = np.quantile(np.linalg.norm(camera.project(points) - texels, axis=1), 0.95)
    return dataclasses.replace(camera, error=float(error))


def _normalisation(points: np.ndarray) -> np.ndarray:
    """Similarity that brings points to zero mean and unit spread, homogeneous; the fit is ill-conditioned without."""
    mean, spread = points.mean(axis=0), points.std() or 1.0
    size = points.shape[1]
    matrix = np.eye(size + 1)
    matrix[:size] /= spread
    matrix[:size, size] = -mean / spread
    return matrix


def photographed(
    points: np.ndarray, seen: np.ndarray, texels: np.ndarray, charts: np.ndarray, wanted: np.ndarray, max_error: float
) -> np.ndarray:
    """Places in the texture image of pixels that no triangle covers.

    Args:
        points: (H, W, 3) canonical mm.
        seen: (H, W) bool, pixels that a triangle covers.
        texels: (K, 2) places of those in the texture image, in the order of `seen`; charts: (K,) their charts.
        wanted: (H, W) bool, pixels to find.
        max_error: texels by which a chart may differ from a camera's view and still be taken for a photograph.

    Returns:
        (M, 2) texels of the wanted pixels, NaN where no camera is known.
    """
    _, nearest = scipy.ndimage.distance_transform_edt(~seen, return_indices=True)
    order = np.cumsum(seen.ravel()).reshape(seen.shape) - 1
    chart = charts[order[tuple(nearest[:, wanted])]]
    places = np.full((len(chart), 2), np.nan)
    names, counts = np.unique(charts, return_counts=True)
    for each in np.intersect1d(names[counts >= _LEAST_SHARE * len(charts)], chart):
        shown, asked = charts == each, chart == each
        camera = find_camera(points[seen][shown], texels[shown])
        if camera is not None and camera.error <= max_error:
            found = camera.project(points[wanted][asked])
            low, high = texels[shown].min(axis=0), texels[shown].max(axis=0)
            places[asked] = np.where(((found >= low) & (found <= high)).all(axis=1, keepdims=True), found, np.nan)
    return places
