"""One texture picture of whatever gives a surface its colours: several pictures, colours of points, plain materials."""

from __future__ import annotations

import dataclasses

import numpy as np

from afnet_jax.scans.images import MAX_PIXELS
from afnet_jax.scans.meshes.surface import MeshError, Part, Surface

_BORDER = 2  # pixels of a picture's edge repeated round it, so that its neighbour in the atlas never shows
_PIXEL_MM = 1.0  # triangles smaller than what a pixel of the maps sees are shown in one colour
_GREY = 128
_SLACK = 0.01  # of the picture's edge, by which rounding may lead a texture point past it
_MOST_REPEATS = 50  # of a picture on one mesh


def painted(surface: Surface, edge_mm: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lays all that gives colour into one picture.

    Pictures are stacked. A triangle without one gets a block of pixels of its own: the corners' colours, which bilinear
    look-up interpolates linearly, and a border for what looks past its edges; small triangles get one colour. A
    surface without any colours becomes plain grey.

    Args:
        surface: a mesh.
        edge_mm: median edge of its triangles.

    Returns:
        (M, 2) float32 texture points with v from the top, (T, 3) int32 indices into them, triangles in the order of
        the parts, and the (H, W, 3) uint8 texture.

    Raises:
        MeshError: the pictures are larger together than what one picture may be.
    """
    pictures = list({id(part.picture): part.picture for part in surface.parts if part.picture is not None}.values())
    if len(pictures) == 1 and all(part.picture is not None for part in surface.parts):
        return _as_it_is(surface, pictures[0])
    count = sum(len(part.triangles) for part in surface.parts if part.picture is None)
    side = 4 if edge_mm >= _PIXEL_MM else 2
    width = max([side * int(np.ceil(np.sqrt(count))), side, *(each.shape[1] + 2 * _BORDER for each in pictures)])
    atlas, tops = _stacked(pictures, width, side * -(-count // (width // side)))
    span = 1.0 if edge_mm >= _PIXEL_MM else max(0.5 * edge_mm / _PIXEL_MM, 0.02)
    places, first = [], 0
    for part in surface.parts:
        if part.picture is None:
            blocks, colours = _Blocks(side, first, tops[-1], width), _corner_colours(part, surface.colours)
            if not (pictures or first) and len(colours):  # what is left over shows no other colour
                atlas[:] = np.round(colours[:1, 0])
            places.append(blocks.painted(atlas, colours, span))
            first += len(part.triangles)
        else:
            top = next(top for picture, top in zip(pictures, tops, strict=False) if picture is part.picture)
            size = np.array(part.picture.shape[1::-1])
            places.append(_within_picture(surface.uv, part).reshape(-1, 2) * size + (_BORDER, top))
    uv = np.concatenate(places) / atlas.shape[1::-1]
    return uv.astype(np.float32), np.arange(len(uv), dtype=np.int32).reshape(-1, 3), atlas


def _as_it_is(surface: Surface, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    uv_triangles = np.concatenate([part.uv_triangles for part in surface.parts if part.uv_triangles is not None])
    uv = surface.uv
    used = uv[np.unique(uv_triangles)]
    if not ((used >= -_SLACK) & (used <= 1 + _SLACK)).all():
        uv = np.concatenate([_within_picture(surface.uv, part) for part in surface.parts]).reshape(-1, 2)
        uv_triangles = np.arange(len(uv)).reshape(-1, 3)
    # Those that no triangle names may be anything, and those a little beside the picture take its edge's colour.
    return np.nan_to_num(uv).clip(0, 1).astype(np.float32), uv_triangles.astype(np.int32), picture


def _within_picture(uv: np.ndarray, part: Part) -> np.ndarray:
    """(T, 3, 2) texture points of a part's corners; a picture repeats, so whole steps are taken off each triangle."""
    assert part.uv_triangles is not None  # of a part with a picture
    corners = uv[part.uv_triangles].astype(np.float64)
    if not np.isfinite(corners).all():
        raise MeshError("a texture point is no number; the file is damaged")
    if corners.size and (most := np.abs(corners).max()) > _MOST_REPEATS:
        advice = "divide pixels by the picture's width and height"
        raise MeshError(f"its texture points reach {most:.0f}, expected 0 to 1; {advice}")
    inside = (corners >= -1e-6) & (corners <= 1 + 1e-6)
    steps = np.where(inside.all(axis=(1, 2))[:, None], 0, np.floor(corners.mean(axis=1)))
    return (corners - steps[:, None]).clip(0, 1)


def _stacked(pictures: list[np.ndarray], width: int, free: int) -> tuple[np.ndarray, list[int]]:
    """The pictures above one another with `free` rows below, and each one's first row; that of the free rows last."""
    heights = [picture.shape[0] + 2 * _BORDER for picture in pictures]
    rows = max(sum(heights) + free, 2)
    if rows * width > MAX_PIXELS:
        raise MeshError(f"its colours need a picture of {width}×{rows} pixels, more than {MAX_PIXELS:,}; shrink them")
    atlas, tops, row = np.full((rows, width, 3), _GREY, np.uint8), [], 0
    for picture, height in zip(pictures, heights, strict=True):
        padded = np.pad(picture, ((_BORDER, _BORDER), (_BORDER, _BORDER), (0, 0)), mode="edge")
        atlas[row : row + height, : padded.shape[1]] = padded
        tops.append(row + _BORDER)
        row += height
    return atlas, [*tops, row]


def _corner_colours(part: Part, colours: np.ndarray | None) -> np.ndarray:
    """(T, 3, 3) float32 colours of the corners: the points', else the material's, else grey."""
    if colours is not None:
        return colours[part.triangles].astype(np.float32)
    plain = np.full(3, _GREY, np.uint8) if part.colour is None else part.colour
    return np.broadcast_to(plain.astype(np.float32), (len(part.triangles), 3, 3))


@dataclasses.dataclass(frozen=True)
class _Blocks:
    """Square blocks of pixels in rows, one for each triangle.

    Attributes:
        side: pixels along an edge, 2 for one colour, 4 for a colour at each corner.
        first: number of the first block that is free.
        top: the atlas's row at which block 0 lies.
        width: of the atlas, pixels.
    """

    side: int
    first: int
    top: int
    width: int

    def painted(self, atlas: np.ndarray, corners: np.ndarray, span: float) -> np.ndarray:
        """Paints (T, 3, 3) colours of corners; gives (3 T, 2) places of the corners in the atlas, in pixels.

        Args:
            atlas: changed in place.
            corners: colours a, b, c of each triangle.
            span: pixels between a triangle's corners: 1, or less where a triangle has one colour.
        """
        row, column = np.divmod(np.arange(self.first, self.first + len(corners)), self.width // self.side)
        row, column = self.top + self.side * row, self.side * column
        a, b, c = np.moveaxis(corners, 1, 0)
        if self.side == 2:
            a = b = c = corners.mean(axis=1)
        inner = ((a, c), (b, (b + c - a).clip(0, 255)))
        last = self.side // 2
        for down in range(self.side):
            for across in range(self.side):
                colour = inner[int(down >= last)][int(across >= last)]
                atlas[row + down, column + across] = np.round(colour)
        # b goes down and c to the right: counter-clockwise on the surface is so in the picture, too.
        low = last - 0.5 if self.side == 4 else last - span / 3
        places = np.array([(low, low), (low, low + span), (low + span, low)])
        return (np.stack([column, row], axis=1)[:, None] + places).reshape(-1, 2)
