"""Raw points -> the network's maps, as part of a compiled program: preprocessing's frame, grid and maps, another way.

The host's pipeline fits a surface to a mesh; here there are points alone, and every step is one that a GPU does well
and that gives the same bits each time: a scatter of integer keys, gathers, products of matrices and stencils.

Shapes: B scans, N points of each, W pixels along the edge of the working grid, S along that of the maps.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection

import jax
import jax.numpy as jnp
import numpy as np

from afnet_jax.geometry.rendering import Grid
from afnet_jax.maps import IMAGE_SIZE, Clouds, InputMap, Maps, maps_of
from afnet_jax.points.masks import draw_masks
from afnet_jax.points.region import face_region
from afnet_jax.points.surface import fit_colours, fit_heights
from afnet_jax.points.visibility import nearest_points
from afnet_jax.preprocessing.computed import COMPUTED
from afnet_jax.preprocessing.pipeline import PreprocessingConfig

_LEAST_EDGE = 128  # pixels of the working grid: 16,384 points then leave few pixels of a face empty

_TOGETHER = 8  # scans of one call


def grid_of(size: int) -> Grid:
    """Returns the grid of `size` × `size` pixels over the same square as preprocessing's maps."""
    whole = PreprocessingConfig().grid
    step = whole.step * IMAGE_SIZE / size
    border = (step - whole.step) / 2  # between the centres of the first pixels
    return Grid(size, step, (whole.origin[0] + border, whole.origin[1] - border))


def render(clouds: Clouds, size: int, modalities: Collection[str] = ()) -> Maps:
    """Returns the maps that B clouds of points show, on `size` × `size` pixels.

    A pixel sees the foremost point in it. A smooth surface is fitted through these from coarse to fine, points far off
    it are left out, and the finest level fills every pixel. Maps smaller than the working grid are means over its
    pixels, by the definitions of `datasets/reduction.py`.

    Args:
        clouds: the points of B scans.
        size: S, a multiple of 32.
        modalities: config.model.modalities.
    """
    with jax.named_scope("rendering"):
        factor = -(-_LEAST_EDGE // size)
        grid = grid_of(size * factor)
        seen = nearest_points(clouds, grid)
        depth, inlier = fit_heights(seen, grid)
        valid = face_region(inlier, grid)
        texture = fit_colours(seen, inlier)
        share = _block_mean(valid, factor)
        inside = share >= 0.5
        depth = _block_mean(jnp.where(valid, depth, 0), factor) / jnp.maximum(share, 0.5)
        texture = _block_mean(jnp.where(valid, texture.clip(0, 255), 0), factor)
        drawn = {
            "texture": jnp.moveaxis(jnp.round(texture), 0, -1),
            "depth": jnp.where(inside, depth, jnp.nan),
            **draw_masks(clouds.landmarks, size),
        }
        wanted = maps_of(modalities)
        for name in wanted.keys() - drawn.keys():
            drawn[name] = jax.vmap(COMPUTED[name], (0, None))(drawn, grid_of(size).step)
        return Maps(**{name: _as_kept(drawn[name], size, each) for name, each in wanted.items()})


def render_all(clouds: Clouds, size: int, modalities: Collection[str] = ()) -> Maps:
    """Returns the maps of any number of clouds as NumPy arrays, rendered a few at a time by one compiled program.

    Always as many at a time, the last one again where fewer are left: products of matrices of other sizes would be
    rounded in another way, and a scan's maps must not depend on how many others are rendered beside it.
    """
    program = _program(size, tuple(modalities))
    count, parts = len(clouds.points), []
    for start in range(0, count, _TOGETHER):
        chosen = np.arange(start, start + _TOGETHER).clip(max=count - 1)
        parts.append(program(jax.tree.map(lambda a, chosen=chosen: a[chosen], clouds)))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:count], *parts)


@functools.cache
def _program(size: int, modalities: tuple[str, ...]) -> Callable[[Clouds], Maps]:
    return jax.jit(functools.partial(render, size=size, modalities=modalities))


def _block_mean(images: jax.Array, factor: int) -> jax.Array:
    """(…, W, W) -> (…, S, S) float32 means over blocks of `factor` × `factor` pixels."""
    images = images.astype(jnp.float32)
    if factor == 1:
        return images
    # A product of matrices, where a sum over strided pixels takes a CPU several times as long.
    share = np.repeat(np.eye(images.shape[-1] // factor, dtype=np.float32), factor, axis=0) / factor
    across = jnp.matmul(images, share, precision=jax.lax.Precision.HIGHEST)
    return jnp.einsum("...wm,wn->...nm", across, share, precision=jax.lax.Precision.HIGHEST)


def _as_kept(image: jax.Array, size: int, each: InputMap) -> jax.Array:
    return image.astype(each.dtype).reshape(-1, *each.shape(size))
