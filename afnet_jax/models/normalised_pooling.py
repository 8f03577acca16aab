"""The stem's normalisation, ReLU and max-pool as one function, for a GPU.

Of all features the stem's are the largest: four times those of stage 1. Normalisation is monotonic in each channel,
so a window's largest output stands where its largest feature does, or its smallest where the scale is negative.
So the features are pooled as they are, and what follows is computed of a quarter as many; the gradient of scale and
bias is a sum over the windows alone.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from afnet_jax.models.batch_norm import (
    SCOPE,
    BatchNorm,
    gradient_of_features,
    statistics,
    sums_of_gradient,
    to_affine,
    widen,
)
from afnet_jax.models.pooling import largest, spread


def normalise_and_pool(norm: BatchNorm, features: jax.Array, *, train: bool) -> jax.Array:
    """`max_pool(relu(norm(features)))`: (N, H, W, C) -> (N, H/2, W/2, C), H and W even.

    Where a channel's scale is exactly 0 all outputs of a window are equal, and the gradient goes to the largest
    feature rather than to the first.
    """
    scale, bias = norm.scale[...], norm.bias[...]
    if not train:
        return _outputs(largest(features * _sign(scale, features))[0], *norm.running, scale, bias)
    outputs, mean, var = _normalise_and_pool(features, scale, bias)
    norm.update_running(mean, var, features.size // features.shape[-1])
    return outputs


def _sign(scale, features):
    return jnp.where(scale < 0, -1, 1).astype(features.dtype)


def _outputs(peaks, mean, var, scale, bias):
    factor, offset = to_affine(mean, var, scale, bias)
    return jax.nn.relu(peaks * _sign(scale, peaks) * factor + offset).astype(peaks.dtype)


@jax.custom_vjp
def _normalise_and_pool(features, scale, bias):
    return _forward(features, scale, bias)[0]


def _forward(features, scale, bias):
    with jax.named_scope(SCOPE):
        mean, var = statistics("cuda", features)
        peaks, places = jax.lax.optimization_barrier(largest(features * _sign(scale, features)))
        outputs = _outputs(peaks, mean, var, scale, bias)
        return (outputs, mean, var), (features, peaks, places, scale, bias, mean, var)


def _backward(saved, cotangents):
    features, peaks, places, scale, bias, mean, var = saved
    with jax.named_scope(SCOPE):
        grad = jnp.where(_outputs(peaks, mean, var, scale, bias) > 0, cotangents[0], 0)
        grad_scale, grad_bias = sums_of_gradient("cuda", widen(grad), peaks * _sign(scale, peaks), mean, var)
        grad = widen(spread(places, grad))
        grad_features = gradient_of_features(grad, features, scale, mean, var, grad_scale, grad_bias)
        return grad_features, grad_scale, grad_bias


_normalise_and_pool.defvjp(_forward, _backward)
