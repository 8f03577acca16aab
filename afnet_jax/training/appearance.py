"""Texture and depth changed as another camera, lamp or scanner would have seen them; what lies outside stays outside.

Shapes: B scans of a batch, (H, W) of an image.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from afnet_jax.maps import Maps


def change_appearance(maps: Maps, key: jax.Array, train: ConfigDict) -> Maps:
    """Returns the maps with texture and depth changed at random as config.train says."""
    of_texture = train.gamma or train.tint or train.grey or train.blur or train.noise
    of_depth = train.blur or train.noise_mm
    if not (of_texture or of_depth or train.erase):
        return maps
    texture_key, depth_key, erase_key = jax.random.split(key, 3)
    inside = ~jnp.isnan(maps.depth)
    texture, depth = maps.texture, maps.depth
    if of_texture:
        texture = _changed_texture(texture, inside, texture_key, train)
    if of_depth:
        depth = _changed_depth(depth, inside, depth_key, train)
    if train.erase:
        hole = _holes(erase_key, depth.shape, train.erase)
        texture = jnp.where(hole, jnp.zeros((), texture.dtype), texture)
        depth = jnp.where(hole, jnp.asarray(jnp.nan, depth.dtype), depth)
        if maps.normals is not None:
            maps = maps._replace(normals=jnp.where(hole, jnp.zeros((), maps.normals.dtype), maps.normals))
    return maps._replace(texture=texture, depth=depth)


def _changed_texture(texture: jax.Array, inside: jax.Array, key: jax.Array, train: ConfigDict) -> jax.Array:
    """(B, H, W, 3) uint8."""
    keys = jax.random.split(key, 6)
    count = len(texture)
    colour = texture.astype(jnp.float32) / 255

    def drawn(number: int, most: float, channels: int = 1, least: float | None = None) -> jax.Array:
        low = -most if least is None else least
        return jax.random.uniform(keys[number], (count, 1, 1, channels), minval=low, maxval=most)

    if train.blur:
        colour = _blurred(colour, inside, drawn(0, train.blur, least=0.0))
    if train.grey:
        share = drawn(1, train.grey, least=0.0)
        colour = colour + share * (colour.mean(axis=-1, keepdims=True) - colour)
    if train.tint:
        colour = colour * (1 + drawn(2, train.tint, channels=3))
    if train.gamma:
        colour = jnp.maximum(colour, 1e-4) ** jnp.exp(drawn(3, train.gamma))
    if train.noise:
        colour = colour + drawn(4, train.noise, least=0.0) * jax.random.normal(keys[5], colour.shape)
    bytes_ = jnp.round(jnp.clip(255 * colour, 0, 255)).astype(texture.dtype)
    return jnp.where(inside, bytes_, texture)


def _changed_depth(depth: jax.Array, inside: jax.Array, key: jax.Array, train: ConfigDict) -> jax.Array:
    """(B, H, W, 1) mm."""
    blur_key, size_key, noise_key = jax.random.split(key, 3)
    count = len(depth)
    height = jnp.where(inside, depth, 0).astype(jnp.float32)
    if train.blur:
        sigma = jax.random.uniform(blur_key, (count, 1, 1, 1), minval=0.0, maxval=train.blur)
        height = _blurred(height, inside, sigma)
    if train.noise_mm:
        size = jax.random.uniform(size_key, (count, 1, 1, 1), minval=0.0, maxval=train.noise_mm)
        height = height + size * jax.random.normal(noise_key, height.shape)
    return jnp.where(inside, height.astype(depth.dtype), depth)


def _blurred(images: jax.Array, inside: jax.Array, sigma: jax.Array) -> jax.Array:
    """(B, H, W, C) float32 blurred by a Gaussian of (B, 1, 1, 1) pixels, within the face alone."""
    share = inside.astype(jnp.float32)
    both = jnp.concatenate([share, jnp.where(inside, images, 0)], axis=-1)

    def weights(size):  # (B, to, from)
        distance = jnp.arange(size)[:, None] - jnp.arange(size)
        return jax.nn.softmax(-0.5 * (distance / jnp.maximum(sigma[..., 0], 0.05)) ** 2, axis=-1)

    rows, cols = weights(images.shape[1]), weights(images.shape[2])
    blurred = jnp.einsum("bij,bjkc,blk->bilc", rows, both, cols, precision=jax.lax.Precision.HIGHEST)
    return blurred[..., 1:] / jnp.maximum(blurred[..., :1], 1e-3)


def _holes(key: jax.Array, shape: tuple[int, ...], most: float) -> jax.Array:
    """(B, H, W, 1) bool: in half of the scans a rectangle, its edges up to this share of the image's."""
    place_key, size_key, there_key = jax.random.split(key, 3)
    count, height, width, _ = shape
    middle = jax.random.uniform(place_key, (2, count, 1, 1), minval=0.2, maxval=0.8)
    half = jax.random.uniform(size_key, (2, count, 1, 1), minval=0.1 * most, maxval=most) / 2
    there = jax.random.bernoulli(there_key, shape=(count, 1, 1))
    row = (jnp.arange(height) + 0.5)[None, :, None] / height
    col = (jnp.arange(width) + 0.5)[None, None, :] / width
    hole = (jnp.abs(row - middle[0]) < half[0]) & (jnp.abs(col - middle[1]) < half[1]) & there
    return hole[..., None]
