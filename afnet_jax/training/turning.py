"""Maps turned in the image's plane and made larger or smaller, all of a scan together.

Shapes: B scans of a batch, (H, W) of a map.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from afnet_jax.maps import INPUT_MAPS, Maps


def turn(maps: Maps, key: jax.Array, degrees: float, zoom: float) -> Maps:
    """Turns every scan by up to so many degrees and scales it by up to this share, drawn evenly.

    A face that is seen larger is larger: its depth grows alike. Linear interpolation; outside the face is what lies
    outside by more than half.
    """
    count = maps.texture.shape[0]
    turn_key, zoom_key = jax.random.split(key)
    angle = jnp.radians(jax.random.uniform(turn_key, (count,), minval=-degrees, maxval=degrees))
    scale = 1 + jax.random.uniform(zoom_key, (count,), minval=-zoom, maxval=zoom)
    inside = ~jnp.isnan(maps.depth)
    images = {name: m for name, m in maps._asdict().items() if m is not None and INPUT_MAPS[name].scale == 1}
    known = {name: jnp.where(inside, m, 0).astype(jnp.float32) for name, m in images.items()}
    together = jnp.concatenate([inside.astype(jnp.float32), *known.values()], axis=-1)
    share, *parts = jnp.split(_sampled(together, angle, scale), _ends(known), axis=-1)
    moved = dict(zip(known, (part / jnp.maximum(share, 0.5) for part in parts), strict=True))
    moved["depth"] *= scale[:, None, None, None]
    if "normals" in moved:
        moved["normals"] = _turned_vectors(moved["normals"], angle)
    result = {}
    for name, image in moved.items():
        each = INPUT_MAPS[name]
        filled = jnp.where(share >= 0.5, image, each.outside)
        result[name] = (jnp.round(filled) if each.dtype == "uint8" else filled).astype(images[name].dtype)
    for name, m in maps._asdict().items():
        if m is not None and name not in result:
            result[name] = _sampled(m.astype(jnp.float32), angle, scale).astype(m.dtype)
    return maps._replace(**result)


def _ends(images: dict[str, jax.Array]) -> list[int]:
    """Last channel of each part of a concatenation, the first part having one channel."""
    ends = [1]
    for image in list(images.values())[:-1]:
        ends.append(ends[-1] + image.shape[-1])
    return ends


def _turned_vectors(normals: jax.Array, angle: jax.Array) -> jax.Array:
    """(B, H, W, 3) vectors turned about the z axis as the image is, counter-clockwise."""
    cos, sin = (f(angle)[:, None, None] for f in (jnp.cos, jnp.sin))
    x, y, z = (normals[..., k] for k in range(3))
    return jnp.stack([cos * x - sin * y, sin * x + cos * y, z], axis=-1)


def _sampled(images: jax.Array, angle: jax.Array, scale: jax.Array) -> jax.Array:
    """(B, H, W, C) float32 images turned counter-clockwise about their middle and scaled; 0 comes in."""
    height, width = images.shape[1:3]
    row, col = jnp.meshgrid(jnp.arange(height) - (height - 1) / 2, jnp.arange(width) - (width - 1) / 2, indexing="ij")

    def one(image, angle, scale):
        cos, sin = jnp.cos(angle) / scale, jnp.sin(angle) / scale
        # Rows grow downwards: a counter-clockwise turn takes what was to the right upwards.
        source_row = cos * row + sin * col + (height - 1) / 2
        source_col = -sin * row + cos * col + (width - 1) / 2
        top, left = jnp.floor(source_row).astype(jnp.int32), jnp.floor(source_col).astype(jnp.int32)
        down, across = (source_row - top)[..., None], (source_col - left)[..., None]
        padded = jnp.pad(image, ((1, 1), (1, 1), (0, 0))).reshape(-1, image.shape[-1])

        def at(r, c):
            r, c = jnp.clip(r + 1, 0, height + 1), jnp.clip(c + 1, 0, width + 1)
            return padded[r * (width + 2) + c]

        upper = at(top, left) * (1 - across) + at(top, left + 1) * across
        lower = at(top + 1, left) * (1 - across) + at(top + 1, left + 1) * across
        return upper * (1 - down) + lower * down

    return jax.vmap(one)(images, angle, scale)
