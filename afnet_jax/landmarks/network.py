"""The detector's two networks: where a face is and how it is turned, and where its landmarks lie once it is upright.

Both read a depth image of an orthographic view. B images, H and W pixels divisible by 16, K = 22 landmarks.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from flax import nnx

from afnet_jax.scans.scan import LANDMARKS

CELL = 4  # pixels of the input along an edge of one cell of the output
_REACH = 100.0  # mm: width of the surroundings whose mean height a pixel's height is given against
HEIGHT_UNIT = 40.0  # mm
_PATCH = 2  # pixels along an edge that become channels before the first convolution


@functools.partial(jax.jit, static_argnames="step")
def features(depth: jax.typing.ArrayLike, step: float) -> tuple[jax.Array, jax.Array]:
    """Makes a network's input of depth images; it does not change if the surface moves along the view's axis.

    A program of its own: compiled into one with a network, XLA takes twenty times as long over both.

    Args:
        depth: (B, H, W) float32 mm, NaN where there is no surface.
        step: mm per pixel.

    Returns:
        (B, H, W, 4): height against the surroundings in HEIGHT_UNIT, the normal's x and y, and whether there is
        surface; and (B, H, W) mm, the surroundings' mean height, 0 where there is none.
    """
    depth = jnp.asarray(depth)
    valid = jnp.isfinite(depth)
    depth = jnp.where(valid, depth, 0.0)
    depth = _without_spikes(depth, valid)
    width = 2 * round(_REACH / step / 2) + 1
    count = _box_sum(valid.astype(jnp.float32), width)
    mean = _box_sum(depth, width) / jnp.maximum(count, 1.0)
    height = jnp.clip((depth - mean) / HEIGHT_UNIT, -2.0, 2.0)
    across, down = (_slope(depth, valid, axis) / step for axis in (2, 1))
    length = jnp.sqrt(1 + across**2 + down**2)
    channels = jnp.stack([height, -across / length, down / length, jnp.ones_like(height)], axis=-1)
    return jnp.where(valid[..., None], channels, 0.0), mean


def _without_spikes(depth: jax.Array, valid: jax.Array) -> jax.Array:
    """Clips each pixel to the range of its valid neighbours; pixels without any stay."""
    low, high = jnp.where(valid, depth, jnp.inf), jnp.where(valid, depth, -jnp.inf)
    around_low, around_high = jnp.full_like(depth, jnp.inf), jnp.full_like(depth, -jnp.inf)
    for down in (-1, 0, 1):
        for across in (-1, 0, 1):
            if (down, across) != (0, 0):
                around_low = jnp.minimum(around_low, _moved(low, down, across, jnp.inf))
                around_high = jnp.maximum(around_high, _moved(high, down, across, -jnp.inf))
    known = valid & jnp.isfinite(around_low)
    return jnp.where(known, jnp.clip(depth, around_low, around_high), depth)


def _moved(image: jax.Array, down: int, across: int, outside: float) -> jax.Array:
    """Returns the image whose pixel (r, c) is the given one's (r + down, c + across)."""
    height, width = image.shape[1:]
    padded = jnp.pad(image, ((0, 0), (1, 1), (1, 1)), constant_values=outside)
    return padded[:, 1 + down : 1 + down + height, 1 + across : 1 + across + width]


def _slope(depth: jax.Array, valid: jax.Array, axis: int) -> jax.Array:
    """Difference per pixel along an axis: central where both neighbours are surface, one-sided where one is."""
    step = (1, 0) if axis == 1 else (0, 1)
    after, before = _moved(depth, *step, 0.0), _moved(depth, -step[0], -step[1], 0.0)
    known = valid.astype(jnp.float32)
    has_after, has_before = _moved(known, *step, 0.0), _moved(known, -step[0], -step[1], 0.0)
    total = has_after * (after - depth) + has_before * (depth - before)
    return total / jnp.maximum(has_after + has_before, 1.0)


def _box_sum(image: jax.Array, width: int) -> jax.Array:
    """Sum over a square of `width` pixels round each pixel."""
    for axis in (1, 2):
        total = jnp.cumsum(image, axis=axis)
        half, size = width // 2, image.shape[axis]
        last = jnp.take(total, jnp.minimum(jnp.arange(size) + half, size - 1), axis=axis)
        first = jnp.arange(size) - half - 1
        before = jnp.take(total, jnp.maximum(first, 0), axis=axis)
        shape = [1, 1, 1]
        shape[axis] = size
        image = last - jnp.where(first.reshape(shape) >= 0, before, 0.0)
    return image


def at_cells(image: jax.Array) -> jax.Array:
    """(B, H, W) -> (B, H/4, W/4): the value at a pixel beside the middle of each cell."""
    return image[:, CELL // 2 :: CELL, CELL // 2 :: CELL]


class Block(nnx.Module):
    """Two 3×3 convolutions beside a shortcut: (B, h, w, C) -> the same."""

    def __init__(self, channels: int, *, rngs: nnx.Rngs):
        self.conv1 = nnx.Conv(channels, channels, (3, 3), use_bias=False, rngs=rngs)
        self.norm1 = nnx.BatchNorm(channels, momentum=0.95, rngs=rngs)
        self.conv2 = nnx.Conv(channels, channels, (3, 3), use_bias=False, rngs=rngs)
        self.norm2 = nnx.BatchNorm(channels, momentum=0.95, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return nnx.relu(x + self.norm2(self.conv2(nnx.relu(self.norm1(self.conv1(x))))))


class Step(nnx.Module):
    """One 3×3 convolution, normalised: (B, h, w, C_in) -> (B, h/stride, w/stride, C_out)."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, *, rngs: nnx.Rngs):
        self.conv = nnx.Conv(inputs, outputs, (3, 3), (stride, stride), use_bias=False, rngs=rngs)
        self.norm = nnx.BatchNorm(outputs, momentum=0.95, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return nnx.relu(self.norm(self.conv(x)))


def _in_patches(x: jax.Array) -> jax.Array:
    """(B, H, W, C) -> (B, H/2, W/2, 4C)."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // _PATCH, _PATCH, width // _PATCH, _PATCH, channels).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(batch, height // _PATCH, width // _PATCH, _PATCH * _PATCH * channels)


class FaceFinder(nnx.Module):
    """Says for each cell whether the middle of a face is near, where, and how the face is turned.

    (B, H, W, 4) -> (B, H/4, W/4, 10): the logit; the middle less the cell's own centre, in cells (right, down) and
    less the surroundings' mean height, in HEIGHT_UNIT; and the first two columns of the face's rotation.
    """

    def __init__(self, *, rngs: nnx.Rngs):
        self.stem = Step(16, 24, rngs=rngs)
        self.down = Step(24, 48, 2, rngs=rngs)
        self.blocks = nnx.List([Block(48, rngs=rngs) for _ in range(3)])
        self.head = nnx.Conv(48, 10, (1, 1), rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.down(self.stem(_in_patches(x)))
        for block in self.blocks:
            x = block(x)
        return self.head(x)


class LandmarkFinder(nnx.Module):
    """Finds the landmarks of a face that is nearly upright: an hourglass with a heatmap for each landmark.

    (B, H, W, 4) -> ((B, K, 2) pixels (col, row), (B, K, h, w) log-probability of the cells, (B,) logit of a face).
    """

    def __init__(self, *, rngs: nnx.Rngs):
        self.stem = Step(16, 24, rngs=rngs)
        self.down1 = Step(24, 48, 2, rngs=rngs)
        self.block1 = Block(48, rngs=rngs)
        self.down2 = Step(48, 80, 2, rngs=rngs)
        self.block2 = Block(80, rngs=rngs)
        self.down3 = Step(80, 112, 2, rngs=rngs)
        self.block3 = Block(112, rngs=rngs)
        self.side3 = nnx.Conv(112, 80, (1, 1), rngs=rngs)
        self.up2 = Step(80, 80, rngs=rngs)
        self.side2 = nnx.Conv(80, 48, (1, 1), rngs=rngs)
        self.up1 = Step(48, 48, rngs=rngs)
        self.head = nnx.Conv(48, 3 * len(LANDMARKS), (1, 1), rngs=rngs)
        self.presence = nnx.Linear(112, 1, rngs=rngs)

    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        fine = self.block1(self.down1(self.stem(_in_patches(x))))
        middle = self.block2(self.down2(fine))
        coarse = self.block3(self.down3(middle))
        face = self.presence(coarse.mean(axis=(1, 2)))[:, 0]
        y = self.up2(_doubled(self.side3(coarse)) + middle)
        y = self.up1(_doubled(self.side2(y)) + fine)
        batch, height, width, _ = y.shape
        out = self.head(y).reshape(batch, height * width, 3, len(LANDMARKS)).transpose(2, 0, 3, 1)
        heat = nnx.log_softmax(out[0], axis=-1)
        row, col = jnp.divmod(jnp.arange(height * width), width)
        chance = jnp.exp(heat)
        place = [(chance * (at + shift)).sum(axis=-1) for at, shift in ((col, out[1]), (row, out[2]))]
        pixels = CELL * (jnp.stack(place, axis=-1) + 0.5) - 0.5
        return pixels, heat.reshape(batch, len(LANDMARKS), height, width), face


def _doubled(x: jax.Array) -> jax.Array:
    """(B, h, w, C) -> (B, 2h, 2w, C), each pixel four times."""
    return jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)
