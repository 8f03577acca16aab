"""How a convolution of the network is computed: with one set of weights, or with one per fold.

`vmap` over folds would turn a convolution into a grouped one, ten times slower on a CPU than one convolution per
fold. So folds are unrolled here, inside a program whose every other operation stays vmapped, and each convolution
is computed by what measured best for its size. `tools/benchmark.py convolution` measures it (docs/performance.md);
the choice is made here and nowhere else.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

LOWERINGS = ("per_fold", "grouped", "im2col", "map")
# At 16 output pixels and fewer XLA's CPU convolution falls off a cliff (2×2, 512 channels: 300 ms against 4).
_CPU_MATMUL_MAX_PIXELS = 16

_lowering: contextvars.ContextVar[str] = contextvars.ContextVar("lowering", default="per_fold")


@contextlib.contextmanager
def lowering(name: str) -> Iterator[None]:
    """Traces what is called inside with another lowering than the measured choice; for benchmarks and tests.

    Args:
        name: "per_fold" (the choice), "grouped" (what plain `vmap` gives), "im2col" (patches and batched matmuls)
            or "map" (`lax.map` over folds).

    Raises:
        ValueError: for any other name.
    """
    if name not in LOWERINGS:
        raise ValueError(f"lowering {name!r}: expected one of {', '.join(LOWERINGS)}")
    token = _lowering.set(name)
    try:
        yield
    finally:
        _lowering.reset(token)


def convolve(inputs, kernel, window_strides, padding, *, lhs_dilation=None, rhs_dilation=None, **_) -> jax.Array:
    """2-D convolution without dilation or groups; takes the place of `lax.conv_general_dilated` in `nnx.Conv`.

    Args:
        inputs: (N, H, W, C).
        kernel: (h, w, C, O).
        window_strides: (rows, cols).
        padding: ((top, bottom), (left, right)).

    Returns:
        (N, H', W', O).
    """
    if any(d != 1 for d in (*(lhs_dilation or ()), *(rhs_dilation or ()))):
        raise ValueError("convolve computes no dilated convolutions")
    name = _lowering.get()
    strides, padding = tuple(window_strides), tuple(map(tuple, padding))
    if kernel.shape[:2] == (1, 1) and not any(sum(padding, ())) and name != "grouped":
        return inputs[:, :: strides[0], :: strides[1]] @ kernel[0, 0]
    if name == "grouped":
        return _library_convolution(strides, padding, inputs, kernel)
    if name == "im2col":
        return _matmul_convolution(strides, padding, inputs, kernel)
    return _fold_by_fold(strides, padding, name == "map")(inputs, kernel)


# Every convolution of the network is made with this.
Conv = functools.partial(nnx.Conv, conv_general_dilated=convolve)


def _library_convolution(strides, padding, inputs, kernel):
    return lax.conv_general_dilated(inputs, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _matmul_convolution(strides, padding, inputs, kernel):
    """Patches side by side, then one matmul (im2col)."""
    height, width, channels, features = kernel.shape
    padded = jnp.pad(inputs, ((0, 0), *padding, (0, 0)))
    rows, cols = _output_size(strides, padding, inputs, kernel)
    taps = [
        padded[:, i : i + strides[0] * (rows - 1) + 1 : strides[0], j : j + strides[1] * (cols - 1) + 1 : strides[1]]
        for i in range(height)
        for j in range(width)
    ]
    patches = jnp.concatenate(taps, axis=-1).reshape(-1, height * width * channels)
    return (patches @ kernel.reshape(-1, features)).reshape(inputs.shape[0], rows, cols, features)


def _output_size(strides, padding, inputs, kernel):
    return tuple(
        (inputs.shape[1 + axis] + sum(padding[axis]) - kernel.shape[axis]) // strides[axis] + 1 for axis in (0, 1)
    )


def _convolve_one(strides, padding, inputs, kernel):
    rows, cols = _output_size(strides, padding, inputs, kernel)
    if jax.default_backend() == "cpu" and rows * cols <= _CPU_MATMUL_MAX_PIXELS:
        return _matmul_convolution(strides, padding, inputs, kernel)
    return _library_convolution(strides, padding, inputs, kernel)


def _over_folds(function: Callable, one_at_a_time: bool) -> Callable:
    """`function`, whose `vmap` calls it once per fold instead of batching its operations."""
    batched = jax.custom_batching.custom_vmap(function)

    @batched.def_vmap
    def rule(folds, in_batched, *args):
        args = [a if b else jnp.broadcast_to(a, (folds, *a.shape)) for a, b in zip(args, in_batched, strict=True)]
        if one_at_a_time:
            out = lax.map(lambda fold_args: function(*fold_args), tuple(args))
        else:
            outs = [function(*(a[fold] for a in args)) for fold in range(folds)]
            out = jax.tree.map(lambda *leaves: jnp.stack(leaves), *outs)
        return out, jax.tree.map(lambda _: True, out)

    return batched


@functools.cache
def _fold_by_fold(strides, padding, one_at_a_time):
    """The convolution and its gradient, both computed fold by fold under `vmap`."""
    convolve_one = functools.partial(_convolve_one, strides, padding)

    def gradients(inputs, kernel, cotangent):
        return jax.vjp(convolve_one, inputs, kernel)[1](cotangent)

    forward = _over_folds(convolve_one, one_at_a_time)
    backward = _over_folds(gradients, one_at_a_time)
    convolution = jax.custom_vjp(forward)
    convolution.defvjp(lambda x, w: (forward(x, w), (x, w)), lambda residuals, dy: backward(*residuals, dy))
    return convolution
