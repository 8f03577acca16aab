"""How a convolution of the network is computed: every convolution goes through here."""

from __future__ import annotations

import functools

from flax import nnx
from jax import lax


def convolve(inputs, kernel, window_strides, padding, *, dimension_numbers=None, **_):
    """2-D convolution, NHWC by HWIO, called by `nnx.Conv`. See `lax.conv_general_dilated` for the arguments."""
    return lax.conv_general_dilated(
        inputs, kernel, window_strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


Conv = functools.partial(nnx.Conv, conv_general_dilated=convolve)
