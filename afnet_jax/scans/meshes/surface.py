"""Holds what was read from a mesh file of any format, and checks what all formats share."""

from __future__ import annotations

import dataclasses

import numpy as np

# Limits on what one file may make of itself in memory; the densest face scanners give about two million triangles.
MAX_BYTES = 512 * 2**20
MAX_POINTS = 4_000_000
MAX_TRIANGLES = 4_000_000
MAX_CORNERS = 64  # of one polygon
_BEYOND_ONE, _FEW = 2.0, 0.05


class MeshError(ValueError):
    """A file's content that is broken or not supported; the reader of the file adds its name."""


@dataclasses.dataclass(frozen=True)
class Part:
    """Triangles of one material. T triangles.

    Attributes:
        triangles: (T, 3) integer indices into the surface's points.
        uv_triangles: (T, 3) integer indices into the surface's texture points, or None.
        picture: (H, W, 3) uint8 RGB that the texture points look up, or None.
        colour: (3,) uint8, the material's plain colour, or None.
    """

    triangles: np.ndarray
    uv_triangles: np.ndarray | None = None
    picture: np.ndarray | None = None
    colour: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Surface:
    """The content of one mesh file, in the file's own units and frame. N points, M texture points.

    Attributes:
        points: (N, 3) float64.
        parts: triangles by material; none for a point cloud.
        uv: (M, 2) float64 texture points, v from the picture's TOP.
        colours: (N, 3) uint8 colours of the points, or None.
        remarks: what looked odd and how it was read, a line each.
    """

    points: np.ndarray
    parts: tuple[Part, ...] = ()
    uv: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((0, 2)))
    colours: np.ndarray | None = None
    remarks: tuple[str, ...] = ()

    def __post_init__(self):
        _check_count("points", len(self.points), MAX_POINTS)
        _check_count("triangles", sum(len(part.triangles) for part in self.parts), MAX_TRIANGLES)
        if not len(self.points):
            raise MeshError("the file holds no points")
        if self.colours is not None and self.colours.shape != (len(self.points), 3):
            raise MeshError("its points' colours are not three numbers for each point; the file is damaged")
        for part in self.parts:
            if part.colour is not None and part.colour.shape != (3,):
                raise MeshError("a material's colour is not three numbers; the file is damaged")
            check_indices("point", part.triangles, len(self.points))
            if part.uv_triangles is not None:
                check_indices("texture point", part.uv_triangles, len(self.uv))


def _check_count(what: str, count: int, limit: int) -> None:
    if count > limit:
        raise MeshError(f"{count:,} {what}, expected at most {limit:,}; simplify the mesh first")


def check_indices(what: str, indices: np.ndarray, count: int) -> None:
    """Refuses indices beyond `count` items; `what` names one in the fault."""
    if indices.size and (indices.min() < 0 or indices.max() >= count):
        wrong = indices.min() if indices.min() < 0 else indices.max()
        raise MeshError(f"a triangle names {what} {wrong}, expected 0 to {count - 1}; the file is damaged")


def fans(corners: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Cuts polygons into triangles: a b c d … becomes a b c, a c d, …

    Args:
        corners: (sum of sizes,) corners of all polygons, one after the other.
        sizes: (P,) corners of each polygon; those of one or two corners, which are points and lines, give nothing.

    Returns:
        (T, 3) corners of the triangles.
    """
    if sizes.size and sizes.max() > MAX_CORNERS:
        raise MeshError(f"a polygon has {sizes.max()} corners, expected at most {MAX_CORNERS}; triangulate the mesh")
    count = np.maximum(sizes - 2, 0)
    first = np.repeat(np.cumsum(sizes) - sizes, count)
    step = np.arange(len(first)) - np.repeat(np.cumsum(count) - count, count)
    return corners[np.stack([first, first + step + 1, first + step + 2], axis=1)]


def as_float64(values: np.ndarray) -> np.ndarray:
    """Returns numbers as float64; damaged bytes may be signalling NaNs, of which NumPy would warn."""
    with np.errstate(invalid="ignore"):
        return values.astype(np.float64)


def as_bytes(colours: np.ndarray) -> np.ndarray:
    """Returns (N, 3) uint8 of (N, ≥3) colours: bytes, 16 bits, or floats.

    Floats are from 0 to 255 where one in twenty is beyond 2, else from 0 to 1: filters leave a few that are greater.
    """
    colours = np.asarray(colours)[:, :3]
    if colours.dtype == np.uint8:
        return colours
    if colours.dtype == np.uint16:
        return (colours // 257).astype(np.uint8)
    with np.errstate(invalid="ignore"):
        scale = 255 if colours.dtype.kind == "f" and (colours > _BEYOND_ONE).mean() <= _FEW else 1
        return np.nan_to_num(np.round(np.clip(as_float64(colours) * scale, 0, 255))).astype(np.uint8)


def joined(surfaces: list[Surface]) -> Surface:
    """Returns one surface of several; colours of points are kept where all the surfaces have them."""
    if len(surfaces) == 1:
        return surfaces[0]
    _check_count("points", sum(len(each.points) for each in surfaces), MAX_POINTS)
    parts: list[Part] = []
    point, texture_point = 0, 0
    for each in surfaces:
        for part in each.parts:
            uv_triangles = None if part.uv_triangles is None else part.uv_triangles + texture_point
            parts.append(dataclasses.replace(part, triangles=part.triangles + point, uv_triangles=uv_triangles))
        point, texture_point = point + len(each.points), texture_point + len(each.uv)
    colours = [each.colours for each in surfaces]
    missing = sum(each is None for each in colours)
    remarks = [remark for each in surfaces for remark in each.remarks]
    if 0 < missing < len(colours):
        remarks.append(
            "some parts of the mesh have colours at their points and others have none: the former were left out"
        )
    return Surface(
        np.concatenate([each.points for each in surfaces]),
        tuple(parts),
        np.concatenate([each.uv for each in surfaces]),
        None if missing else np.concatenate([each for each in colours if each is not None]),
        tuple(dict.fromkeys(remarks)),
    )
