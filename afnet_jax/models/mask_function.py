"""The two layers of mask attention as a function of one number a pixel, for a GPU.

`relu(m k + b) @ W + c` is linear in the mask's value m between any two of the thresholds -b / k at which a hidden unit
starts or ends: a factor and an offset per channel and segment are all there is to it. So a pixel looks its segment up,
which a compiler fuses into whatever reads the outputs, and neither the hidden layer nor the outputs need be stored. The
gradients of all weights follow from two sums per hidden unit and channel.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def two_layers(precision, mask, kernel, bias, out_kernel, out_bias):
    """`relu(mask * kernel + bias) @ out_kernel + out_bias`, the weights in float32, in the mask's dtype.

    Args:
        precision: of the gradient's matmul, as `lax.dot_general` takes it.
        mask: (N, h, w, 1).
        kernel, bias: (H,), of the hidden units.
        out_kernel, out_bias: (H, C) and (C,).

    Returns:
        (N, h, w, C).
    """
    segments, factors, offsets = _segments(mask, kernel, bias, out_kernel)
    factor, offset = (t.at[segments].get(mode="promise_in_bounds") for t in (factors, offsets + out_bias))
    return (mask * factor + offset).astype(mask.dtype)


def _segments(mask, kernel, bias, out_kernel):
    """Segment of each pixel, (N, h, w) int32, and factor and offset of each segment, (H + 1, C) each.

    A segment's number is that of the thresholds below it.
    """
    thresholds = jnp.where(kernel == 0, jnp.inf, -bias / jnp.where(kernel == 0, 1, kernel))
    segments = (mask > thresholds).sum(-1, dtype=jnp.int32)
    below = (thresholds[:, None] > thresholds).sum(1)
    passed = jnp.arange(kernel.size + 1)[:, None] > below  # (H + 1, H): lies above the unit's threshold
    active = jnp.where(kernel > 0, passed, jnp.where(kernel < 0, ~passed, bias > 0))[:, :, None]
    factors = jnp.where(active, kernel[:, None] * out_kernel, 0).sum(1)
    return segments, factors, jnp.where(active, bias[:, None] * out_kernel, 0).sum(1)


def _forward(precision, mask, kernel, bias, out_kernel, out_bias):
    return two_layers(precision, mask, kernel, bias, out_kernel, out_bias), (mask, kernel, bias, out_kernel)


def _backward(precision, saved, grad):
    mask, kernel, bias, out_kernel = saved
    active = mask * kernel + bias > 0
    # One expression for both, as concatenated features within a matmul end XLA's compiler (jax 0.10.1, ten folds).
    twice = mask * jnp.tile(kernel, 2) + jnp.tile(bias, 2) > 0
    both = jnp.where(twice, jnp.where(jnp.arange(2 * kernel.size) < kernel.size, mask, 1), 0).astype(mask.dtype)
    # Over the pixels at which a unit is active: the sum of the gradients times the mask, and that of the gradients.
    multiply = functools.partial(jnp.matmul, precision=precision, preferred_element_type=kernel.dtype)
    sums = multiply(both.reshape(-1, 2 * kernel.size).T, grad.reshape(-1, grad.shape[-1]))
    times_mask, plain = jnp.split(sums, 2)
    grad_hidden = multiply(grad, out_kernel.T.astype(grad.dtype))  # for the mask's, which training does not ask for
    return (
        jnp.where(active, grad_hidden * kernel, 0).sum(-1, keepdims=True).astype(mask.dtype),
        (times_mask * out_kernel).sum(1),
        (plain * out_kernel).sum(1),
        kernel[:, None] * times_mask + bias[:, None] * plain,
        grad.sum((0, 1, 2), dtype=kernel.dtype),
    )


two_layers.defvjp(_forward, _backward)
