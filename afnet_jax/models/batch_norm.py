"""Batch normalisation with PyTorch's running statistics."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

EPSILON = 1e-5
MOMENTUM = 0.9  # share of the old running value that is kept; PyTorch calls its complement momentum (0.1)


class BatchNorm(nnx.Module):
    """Normalises (N, H, W, C) over N, H, W, then scales and shifts each channel.

    Unlike `nnx.BatchNorm`, the running variance is the unbiased one, as in PyTorch, so that both agree after every
    step. Statistics are float32 where the features are narrower; the output has the features' dtype.
    """

    def __init__(self, channels: int):
        self.scale = nnx.Param(jnp.ones(channels, jnp.float32))
        self.bias = nnx.Param(jnp.zeros(channels, jnp.float32))
        self.mean = nnx.BatchStat(jnp.zeros(channels, jnp.float32))
        self.var = nnx.BatchStat(jnp.ones(channels, jnp.float32))

    def __call__(self, features: jax.Array, *, train: bool) -> jax.Array:
        if not train:
            return _affine(features, self.mean[...], self.var[...], self.scale[...], self.bias[...])
        outputs, mean, var = _normalise(features, self.scale[...], self.bias[...])
        count = features.size // features.shape[-1]
        self.mean[...] = MOMENTUM * self.mean[...] + (1 - MOMENTUM) * mean
        self.var[...] = MOMENTUM * self.var[...] + (1 - MOMENTUM) * var * (count / max(count - 1, 1))
        return outputs


def _widen(features):
    return features.astype(jnp.promote_types(features.dtype, jnp.float32))


def _sum(values):
    """(N, H, W, C) -> (C,). One axis after the other loses five times less to rounding than all at once."""
    if jax.default_backend() == "cpu":  # where a product with ones takes two thirds of a sum's time
        ones = jnp.ones(values.shape[2], values.dtype)
        return jnp.einsum("nhwc,w->nhc", values, ones, precision="highest").sum(1).sum(0)
    return values.sum((1, 2)).sum(0)


@jax.jit
def _affine(features, mean, var, scale, bias):
    factor = scale * jax.lax.rsqrt(var + EPSILON)
    return (features * factor + (bias - mean * factor)).astype(features.dtype)


@jax.jit
def _statistics(features):
    wide = _widen(features)
    count = features.size // features.shape[-1]
    mean = _sum(wide) / count
    return mean, _sum(jnp.square(wide - mean)) / count


@jax.custom_vjp
def _normalise(features, scale, bias):
    """(N, H, W, C) features -> normalised features, batch mean (C,), biased batch variance (C,)."""
    mean, var = _statistics(features)
    return _affine(features, mean, var, scale, bias), mean, var


def _normalise_forward(features, scale, bias):
    outputs, mean, var = _normalise(features, scale, bias)
    return (outputs, mean, var), (features, scale, mean, var)


@jax.jit
def _normalise_backward(saved, cotangents):
    """Ioffe and Szegedy 2015, section 3. Only the layer's own input is kept for it, nothing of its size besides.

    The statistics come out for the running averages alone, which take no gradient.
    """
    features, scale, mean, var = saved
    inverse = jax.lax.rsqrt(var + EPSILON)
    grad = _widen(cotangents[0])
    centred = _widen(features) - mean
    count = features.size // features.shape[-1]
    grad_bias = _sum(grad)
    grad_scale = _sum(grad * centred) * inverse
    grad_features = scale * inverse * (grad - grad_bias / count - centred * (inverse * grad_scale / count))
    return grad_features.astype(features.dtype), grad_scale, grad_bias


_normalise.defvjp(_normalise_forward, _normalise_backward)
