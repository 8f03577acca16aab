"""The face among the pixels that see a point of the surface: gaps closed, other parts left out, holes filled.

Shapes: B scans, W pixels along the grid's edge. Ways are followed over 32 × 32 cells, a row of which is one word.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from afnet_jax.geometry.rendering import Grid
from afnet_jax.points.visibility import gap_in_pixels, kept_apart, spread_max, spread_min

_SPECK = 1  # pixels round its middle that a speck covers at most
_CELLS = 32  # along an edge, 7.35 mm each
_SWEEPS = 4  # along columns and rows: as many turns as a way from the middle of a face to its rim may take, and more
_MIDDLE = 6  # cells from the middle of the grid within which a face must begin


def face_region(seen: jax.Array, grid: Grid) -> jax.Array:
    """Returns the part of what is seen that lies before the middle.

    Cracks are closed, specks left out and interior holes filled.

    Args:
        seen: (B, W, W) bool, pixels with a point on the surface.
        grid: their grid.

    Returns:
        (B, W, W) bool.
    """
    reach = gap_in_pixels(grid)
    seen = kept_apart(seen.astype(jnp.bfloat16))
    # Closed, then opened by a pixel: a spike beyond the rim that lies on the surface's continuation is no face.
    opened = spread_max(spread_min(spread_max(seen, reach, 0.0), reach + _SPECK, 1.0), _SPECK, 0.0)
    closed = kept_apart(opened) > 0
    cell = grid.size // _CELLS
    occupied = _to_words(closed.reshape(closed.shape[0], _CELLS, cell, _CELLS, cell).any(axis=(2, 4)))
    face = _reached(occupied & _middle(), occupied)
    outside = _reached(~face & _rim(), ~face)
    closed &= _to_pixels(face, cell)
    # A cell on the face's rim is part face, part outside.
    near_outside = spread_max(_to_pixels(outside, cell).astype(jnp.bfloat16), cell, 1.0)
    return kept_apart((closed | (near_outside == 0)).astype(jnp.bfloat16)) > 0


def _reached(start: jax.Array, free: jax.Array) -> jax.Array:
    """(B, 32) words of the free cells that a way along free ones leads to from the start.

    Parallel-prefix fill along rows and columns, as chess programs move their rooks.
    """

    def sweep(_, reached):
        for shift in (_up, _down, _left, _right):
            way = free
            for step in (1, 2, 4, 8, 16):
                reached |= way & shift(reached, step)
                way &= shift(way, step)
        return reached

    return jax.lax.fori_loop(0, _SWEEPS, sweep, start & free)


def _up(words: jax.Array, step: int) -> jax.Array:
    return jnp.pad(words[:, step:], ((0, 0), (0, step)))


def _down(words: jax.Array, step: int) -> jax.Array:
    return jnp.pad(words[:, :-step], ((0, 0), (step, 0)))


def _left(words: jax.Array, step: int) -> jax.Array:
    return words >> step


def _right(words: jax.Array, step: int) -> jax.Array:
    return words << step


def _to_words(cells: jax.Array) -> jax.Array:
    """(…, 32, 32) bool -> (…, 32) uint32, the first column in the lowest bit."""
    return (cells.astype(jnp.uint32) << jnp.arange(_CELLS, dtype=jnp.uint32)).sum(axis=-1, dtype=jnp.uint32)


def _to_pixels(words: jax.Array, cell: int) -> jax.Array:
    """(B, 32) words -> (B, W, W) bool."""
    cells = (words[..., None] >> jnp.arange(_CELLS, dtype=jnp.uint32)) & 1
    return jnp.repeat(jnp.repeat(cells > 0, cell, axis=1), cell, axis=2)


def _middle() -> jax.Array:
    """(32,) words of the cells round the middle."""
    near = jnp.abs(jnp.arange(_CELLS) - (_CELLS - 1) / 2) < _MIDDLE
    return _to_words(near[:, None] & near)


def _rim() -> jax.Array:
    """(32,) words of the cells along the border."""
    last = (jnp.arange(_CELLS) % (_CELLS - 1)) == 0
    return _to_words(last[:, None] | last)
