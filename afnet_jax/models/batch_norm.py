"""Batch normalisation with PyTorch's running statistics, together with what follows it.

A training step on a GPU is bound by the bytes it moves, and normalisation moves most of them. So a GPU takes the
batch's statistics in one reading of the features; the addition and the ReLU that follow belong to the same function,
whose gradient reads the features and the incoming gradient and keeps nothing of its own. A CPU is bound by its
arithmetic and has the forms that measured fastest there.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from flax import nnx

from afnet_jax.models.convolution import stored

EPSILON = 1e-5
SCOPE = "normalisation"  # by which profiles and programs name it
MOMENTUM = 0.9  # share of the old running value that is kept; PyTorch calls its complement momentum (0.1)


class BatchNorm(nnx.Module):
    """Normalises (N, H, W, C) over N, H, W, then scales and shifts each channel.

    Unlike `nnx.BatchNorm`, the running variance is the unbiased one, as in PyTorch, so that both agree after every
    step. Statistics are float32 where the features are narrower; the output has the features' dtype.

    Args:
        channels: C.
        platform: where it will be computed, "cpu" or "cuda".
    """

    def __init__(self, channels: int, *, platform: str = "cpu"):
        self.platform = platform
        self.scale = nnx.Param(jnp.ones(channels, jnp.float32))
        self.bias = nnx.Param(jnp.zeros(channels, jnp.float32))
        self.mean = nnx.BatchStat(jnp.zeros(channels, jnp.float32))
        self.var = nnx.BatchStat(jnp.ones(channels, jnp.float32))

    def __call__(self, features: jax.Array, *, train: bool, relu: bool = False, shortcut=None) -> jax.Array:
        """Normalised features.

        Args:
            features: (N, H, W, C).
            train: by the batch's statistics, which update the running ones; otherwise by the running ones.
            relu: apply a ReLU last.
            shortcut: (N, H, W, C) to add before a ReLU, which then follows in any case, or None.
        """
        if not train:
            return _finish(_affine(features, *self.running, self.scale[...], self.bias[...]), shortcut, relu)
        if self.platform == "cpu":
            outputs, mean, var = _normalise("cpu", False, features, None, self.scale[...], self.bias[...])
            outputs = _finish(outputs, shortcut, relu)
        else:
            outputs, mean, var = _normalise(self.platform, relu, features, shortcut, self.scale[...], self.bias[...])
        self.update_running(mean, var, features.size // features.shape[-1])
        return outputs

    @property
    def running(self) -> tuple[jax.Array, jax.Array]:
        """Running mean and variance, each (C,)."""
        return self.mean[...], self.var[...]

    def update_running(self, mean: jax.Array, var: jax.Array, count: int) -> None:
        """Takes up the mean and the biased variance of a batch of `count` values a channel."""
        self.mean[...] = MOMENTUM * self.mean[...] + (1 - MOMENTUM) * mean
        self.var[...] = MOMENTUM * self.var[...] + (1 - MOMENTUM) * var * (count / max(count - 1, 1))


def _finish(outputs, shortcut, relu):
    if shortcut is not None:
        return jax.nn.relu(outputs + shortcut)
    return jax.nn.relu(outputs) if relu else outputs


def widen(features):
    """The features in float32 at least, in which everything about them is computed."""
    return features.astype(jnp.promote_types(features.dtype, jnp.float32))


def channel_sums(platform: str, *values: jax.Array) -> tuple[jax.Array, ...]:
    """Arrays (N, H, W, C) -> their sums (C,). One axis after the other loses five times less than all at once."""
    if platform == "cpu":  # where a product with ones takes two thirds of a sum's time
        ones = jnp.ones(values[0].shape[2], values[0].dtype)
        return tuple(jnp.einsum("nhwc,w->nhc", each, ones, precision="highest").sum(1).sum(0) for each in values)
    # As one reduction of all, so that what they are made of is read once. The barrier keeps both stages apart: the
    # compiler would join them, and then store what is summed of the smallest maps.
    zeros = tuple(jnp.zeros((), each.dtype) for each in values)
    sums = jax.lax.reduce(values, zeros, lambda left, right: tuple(map(jnp.add, left, right)), (1, 2))
    return tuple(each.sum(0) for each in jax.lax.optimization_barrier(sums))


def to_affine(mean, var, scale, bias):
    """Factor and offset, each (C,), of the normalisation."""
    factor = scale * jax.lax.rsqrt(var + EPSILON)
    return factor, bias - mean * factor


@jax.jit
def _affine(features, mean, var, scale, bias):
    factor, offset = to_affine(mean, var, scale, bias)
    return (features * factor + offset).astype(features.dtype)


@functools.partial(jax.jit, static_argnums=0)
def statistics(platform: str, features: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and biased variance of each channel, each (C,)."""
    wide = widen(features)
    count = features.size // features.shape[-1]
    if platform == "cpu":
        (total,) = channel_sums(platform, wide)
        (squares,) = channel_sums(platform, jnp.square(wide - total / count))
        return total / count, squares / count
    # Both sums in one reading. About a value of the features' own range, or squares much larger than the variance
    # would cancel.
    shift = wide[0, wide.shape[1] // 2, wide.shape[2] // 2]
    shifted = wide - shift
    total, squares = channel_sums(platform, shifted, jnp.square(shifted))
    mean = total / count
    return shift + mean, jnp.maximum(squares / count - jnp.square(mean), 0)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _normalise(platform, relu, features, shortcut, scale, bias):
    """(N, H, W, C) features -> outputs, batch mean (C,), biased batch variance (C,)."""
    with jax.named_scope(SCOPE):
        mean, var = statistics(platform, features)
        factor, offset = to_affine(mean, var, scale, bias)
        outputs = _finish(features * factor + offset, shortcut, relu).astype(features.dtype)
        return outputs if shortcut is None else stored(outputs), mean, var


def _normalise_forward(platform, relu, features, shortcut, scale, bias):
    outputs, mean, var = _normalise(platform, relu, features, shortcut, scale, bias)
    # Where nothing was added the features themselves tell what the ReLU let through.
    return (outputs, mean, var), (features, None if shortcut is None else outputs, scale, bias, mean, var)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _normalise_backward(platform, relu, saved, cotangents):
    """Ioffe and Szegedy 2015, section 3. Nothing of the features' size is kept for it that is not kept anyway.

    The statistics come out for the running averages alone, which take no gradient.
    """
    features, outputs, scale, bias, mean, var = saved
    with jax.named_scope(SCOPE):
        grad_shortcut = None if outputs is None else jnp.where(outputs > 0, cotangents[0], 0)
        grad = grad_again = widen(cotangents[0] if grad_shortcut is None else grad_shortcut)
        if relu and outputs is None:
            affine = scale * jax.lax.rsqrt(var + EPSILON), bias
            grad = grad * _let_through(features, mean, *affine)
            # Computed anew for its second reader: the barrier keeps the compiler from storing it for both.
            grad_again = grad_again * _let_through(features, mean, *jax.lax.optimization_barrier(affine))
        grad_scale, grad_bias = sums_of_gradient(platform, grad, features, mean, var)
        grad_features = gradient_of_features(grad_again, features, scale, mean, var, grad_scale, grad_bias)
        return grad_features, grad_shortcut, grad_scale, grad_bias


def _let_through(features, mean, factor, bias):
    """1 where a ReLU after the normalisation passes a feature, else 0, as a number: a boolean would be stored."""
    return jnp.sign(jnp.maximum((widen(features) - mean) * factor + bias, 0))


def sums_of_gradient(platform, grad, features, mean, var):
    """Gradients of scale and bias, each (C,), from that of the outputs."""
    centred = widen(features) - mean
    products, grad_bias = channel_sums(platform, grad * centred, grad)
    return products * jax.lax.rsqrt(var + EPSILON), grad_bias


def gradient_of_features(grad, features, scale, mean, var, grad_scale, grad_bias):
    """Gradient of the features from those of outputs, scale and bias."""
    inverse = jax.lax.rsqrt(var + EPSILON)
    count = features.size // features.shape[-1]
    centred = widen(features) - mean
    grad_features = scale * inverse * (grad - grad_bias / count - centred * (inverse * grad_scale / count))
    return grad_features.astype(features.dtype)


_normalise.defvjp(_normalise_forward, _normalise_backward)
