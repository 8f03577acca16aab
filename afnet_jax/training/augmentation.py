"""Maps changed at random while a network learns: mirrored, turned, shifted, in other light, with others' masks.

Shapes: B scans of a batch, (H, W) of a map.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from afnet_jax.maps import INPUT_MAPS, InputMap, Maps
from afnet_jax.models.inputs import mirrored
from afnet_jax.training.appearance import change_appearance
from afnet_jax.training.turning import turn


def augment(maps: Maps, key: jax.Array, train: ConfigDict) -> Maps:
    """Returns the maps of a batch changed at random as config.train says; unchanged, at no cost, with all of it off.

    All maps of a scan are mirrored and shifted together, by whole pixels of the image and so by fractions of a mask's;
    what a shift brings in is outside the face. Colour changes leave what lies outside black.
    """
    flip_key, shift_key, colour_key = jax.random.split(key, 3)
    turn_key, look_key = jax.random.split(jax.random.fold_in(key, 1))
    count = maps.texture.shape[0]
    if train.swap_masks:
        # Not 2: fold_in(key, 2) is the third of split's keys, and swapped scans would be the darker ones.
        maps = _swap_masks(maps, jax.random.fold_in(key, 4), train.swap_masks)
    if train.move_masks:
        moves = train.move_masks * jax.random.normal(jax.random.fold_in(key, 3), (count, 3, 3, 2))
        maps = _changed(maps, lambda m, each: m if each.scale == 1 else _bend(m, moves * each.scale))
    if train.flip:
        chosen = jax.random.bernoulli(flip_key, shape=(count, 1, 1, 1))
        maps = jax.tree.map(lambda turned, m: jnp.where(chosen, turned, m), mirrored(maps), maps)
    if train.max_turn or train.max_zoom:
        maps = turn(maps, turn_key, train.max_turn, train.max_zoom)
    if train.max_shift:
        shifts = jax.random.randint(shift_key, (count, 2), -train.max_shift, train.max_shift + 1)
        maps = _changed(maps, lambda m, each: _shift(m, shifts, each))
    if train.colour_jitter:
        gain, offset = jax.random.uniform(
            colour_key, (2, count, 1, 1, 1), minval=-train.colour_jitter, maxval=train.colour_jitter
        )
        wide = maps.texture.astype(jnp.float32)
        changed = jnp.clip(wide * (1 + gain) + 255 * offset, 0, 255).astype(jnp.uint8)
        inside = ~jnp.isnan(maps.depth)
        maps = maps._replace(texture=jnp.where(inside, changed, maps.texture))
    return change_appearance(maps, look_key, train)


def _swap_masks(maps: Maps, key: jax.Array, share: float) -> Maps:
    """Gives this share of the scans the masks of the scan before it; a batch has no order.

    By eq. 1 a mask alone says where brows, nose and mouth lie, which is learned long before the images are.
    """
    swapped = jax.random.bernoulli(key, share, (maps.texture.shape[0], 1, 1, 1))
    return _changed(maps, lambda m, each: m if each.scale == 1 else jnp.where(swapped, jnp.roll(m, 1, axis=0), m))


def _bend(masks: jax.Array, moves: jax.Array) -> jax.Array:
    """Moves 3 × 3 evenly spread places of (B, H, W, 1) masks by (B, 3, 3, 2) pixels down and right, others between."""
    count, height, width = masks.shape[:3]
    fields = jax.image.resize(moves, (count, height, width, 2), "linear")
    row, col = jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij")

    def one(mask, field):
        sources = [row - field[..., 0], col - field[..., 1]]
        return jax.scipy.ndimage.map_coordinates(mask[..., 0].astype(jnp.float32), sources, order=1)[..., None]

    return jax.vmap(one)(masks, fields).astype(masks.dtype)


def _changed(maps: Maps, change: Callable[[jax.Array, InputMap], jax.Array]) -> Maps:
    there = {name: m for name, m in maps._asdict().items() if m is not None}
    return maps._replace(**{name: change(m, INPUT_MAPS[name]) for name, m in there.items()})


def _shift(maps: jax.Array, shifts: jax.Array, each: InputMap) -> jax.Array:
    """Moves (B, H, W, C) maps by (B, 2) pixels of the image down and right."""
    return _shift_image(maps, shifts, each.outside) if each.scale == 1 else _shift_mask(maps, shifts * each.scale)


def _shift_image(images: jax.Array, shifts: jax.Array, fill: float) -> jax.Array:
    """(B, H, W, C) images moved by (B, 2) whole pixels down and right; `fill` comes in."""

    def one(image, shift):
        rows = jnp.arange(image.shape[0]) - shift[0]
        cols = jnp.arange(image.shape[1]) - shift[1]
        seen = ((rows >= 0) & (rows < image.shape[0]))[:, None] & ((cols >= 0) & (cols < image.shape[1]))[None]
        moved = image[jnp.clip(rows, 0, image.shape[0] - 1)][:, jnp.clip(cols, 0, image.shape[1] - 1)]
        return jnp.where(seen[..., None], moved, jnp.asarray(fill, image.dtype))

    return jax.vmap(one)(images, shifts)


def _shift_mask(masks: jax.Array, shifts: jax.Array) -> jax.Array:
    """(B, H, W, 1) masks moved by (B, 2) pixels and fractions of pixels down and right; 0 comes in.

    Linear interpolation: where a mask is the mean over each pixel's area, it is what the moved area's mean would be if
    the mask were constant within its pixels.
    """

    def weights(shifts, size):
        # (B, to, from): the share of each old pixel in each new one.
        to, source = jnp.arange(size)[:, None], jnp.arange(size)
        return jnp.maximum(0, 1 - jnp.abs(to - source - shifts[:, None, None]))

    rows, cols = weights(shifts[:, 0], masks.shape[1]), weights(shifts[:, 1], masks.shape[2])
    # In full float32, where a GPU would otherwise round the shares.
    moved = jnp.einsum("bij,bjkc,blk->bilc", rows, masks.astype(jnp.float32), cols, precision=jax.lax.Precision.HIGHEST)
    return moved.astype(masks.dtype)
