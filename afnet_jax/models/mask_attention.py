"""Mask attention (MA), eq. 1 of the paper: a mask of the salient regions scales and shifts the features.

Shapes: N scans, mask (N, h, w, 1), γ and β (N, h, w, C).
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
from flax import nnx

from afnet_jax.models.mask_function import two_layers


class MaskAttention(nnx.Module):
    """γ and β of X̂ = γ ⊗ X + β (eq. 1), each made from the mask by two 1×1 convolutions of its own.

    The paper's start is kept to the letter: kernels from N(0, 0.02), biases 0. So γ and β start at a few hundredths
    inside the salient regions and at 0 outside. The normalisation in the next block makes up for the scale, and
    gradients are as large as without MA; but its running variances start at 1, thousands of times too large, and take
    some 80 steps to come down: accuracies in evaluation mean nothing before that.
    """

    def __init__(self, channels: int, hidden_width: int | None = None, *, conv: Callable):
        group = functools.partial(ConvolutionGroup, channels, hidden_width or channels, conv=conv)
        self.gamma = group()
        self.beta = group()

    def __call__(self, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
        """(N, h, w, 1) mask -> γ and β, each (N, h, w, C)."""
        return self.gamma(mask), self.beta(mask)


class ConvolutionGroup(nnx.Module):
    """The mask in C channels -> 1×1 convolution -> ReLU -> 1×1 convolution."""

    def __init__(self, channels: int, hidden_width: int, *, conv: Callable):
        conv1x1 = functools.partial(conv, kernel_size=(1, 1), padding=((0, 0), (0, 0)))
        self.conv1 = conv1x1(channels, hidden_width)
        self.conv2 = conv1x1(hidden_width, channels)

    def __call__(self, mask: jax.Array) -> jax.Array:
        # All C channels of the reshaped mask are alike, so its first convolution is the mask times the kernel summed
        # over its inputs: the same numbers without C copies of the mask.
        kernel = self.conv1.kernel[...].sum((0, 1, 2))
        assert self.conv1.bias is not None  # nnx.Conv has one unless told otherwise
        if self.conv1.platform != "cpu":
            return two_layers(
                self.conv2.precision,
                mask.astype(self.conv1.dtype),
                kernel,
                self.conv1.bias[...],
                self.conv2.kernel[0, 0],
                self.conv2.bias[...],
            )
        dtype = self.conv1.dtype
        hidden = nnx.relu(mask.astype(dtype) * kernel.astype(dtype) + self.conv1.bias[...].astype(dtype))
        return self.conv2(hidden)
