"""Convolution of the network, on a CPU or a GPU, with one set of weights or one per fold.

`vmap` over folds would turn a convolution into a grouped one, ten times slower on a CPU than one convolution per
fold. So folds are unrolled here, inside a program whose every other operation stays vmapped, and each convolution
is computed by what measured best for its size. `tools/benchmark.py convolution` measures it (docs/performance.md);
the choice is made here and nowhere else.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

LOWERINGS = ("per_fold", "grouped", "im2col", "map")
# At 16 output pixels and fewer XLA's CPU convolution falls off a cliff (2×2, 512 channels: 300 ms against 4).
_CPU_MATMUL_MAX_PIXELS = 16
# Its gradient of a kernel takes up to four times as long over more output pixels than this at once (64 channels at
# 28×28, batch of 32: 45 ms against 11), and loses more to rounding.
_CPU_GRADIENT_MAX_PIXELS = 1024

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


class Conv(nnx.Conv):
    """`nnx.Conv` that is computed by `convolve`; every convolution of the network is one.

    Args:
        platform: where it will be computed, "cpu" or "cuda".
    """

    def __init__(self, *args, platform: str = "cpu", **settings):
        super().__init__(*args, conv_general_dilated=_convolve_on(platform), **settings)
        self.platform = platform


@functools.cache
def _convolve_on(platform: str) -> Callable:
    return functools.partial(convolve, platform=platform)


def convolve(
    inputs,
    kernel,
    window_strides,
    padding,
    *,
    platform="cpu",
    precision=None,
    lhs_dilation=None,
    rhs_dilation=None,
    **_,
) -> jax.Array:
    """2-D convolution without dilation or groups; takes the place of `lax.conv_general_dilated` in `nnx.Conv`.

    Args:
        inputs: (N, H, W, C).
        kernel: (h, w, C, O).
        window_strides: (rows, cols).
        padding: ((top, bottom), (left, right)).
        platform: where it will be computed, "cpu" or "cuda".
        precision: of products of float32 numbers, as `lax.conv_general_dilated` takes it.

    Returns:
        (N, H', W', O).
    """
    if any(d != 1 for d in (*(lhs_dilation or ()), *(rhs_dilation or ()))):
        raise ValueError("convolve computes no dilated convolutions")
    name = _lowering.get()
    rows, cols = map(tuple, padding)
    geometry = _Geometry(tuple(window_strides), (rows, cols), platform, precision)
    if kernel.shape[:2] == (1, 1) and not any(sum(geometry.padding, ())) and name != "grouped":
        if platform != "cpu" and geometry.strides != (1, 1):
            inputs = stored(inputs)
        return jnp.matmul(_every(inputs, geometry.strides), kernel[0, 0], precision=precision)
    if name == "grouped":
        return _library_convolution(geometry, inputs, kernel)
    if name == "im2col":
        return _matmul_convolution(geometry, inputs, kernel)
    return _fold_by_fold(geometry, name == "map")(inputs, kernel)


class _Geometry(NamedTuple):
    """All of a convolution but its arrays."""

    strides: tuple[int, int]
    padding: tuple[tuple[int, int], tuple[int, int]]
    platform: str
    precision: str | lax.Precision | None

    def output_size(self, inputs, kernel) -> tuple[int, int]:
        rows, cols = (
            (inputs.shape[1 + axis] + sum(self.padding[axis]) - kernel.shape[axis]) // self.strides[axis] + 1
            for axis in (0, 1)
        )
        return rows, cols


def _every(inputs, strides):
    """Every s-th row and t-th column of (N, H, W, C), from the first.

    Never as a strided slice: XLA fuses one into the matmul that reads it, and its compiler for GPUs then aborts the
    process ("Check failed: subdim_size_accumulator == dim_size"; jax 0.10.1 and 0.11.2). So rows and columns are
    counted in groups of s and t, and the first of each group is taken.
    """
    for axis, stride in enumerate(strides, start=1):
        if stride == 1:
            continue
        if short := -inputs.shape[axis] % stride:
            inputs = jnp.pad(inputs, [(0, short * (a == axis)) for a in range(inputs.ndim)])
        shape = inputs.shape
        groups = inputs.reshape(*shape[:axis], shape[axis] // stride, stride, *shape[axis + 1 :])
        inputs = lax.index_in_dim(groups, 0, axis + 1, keepdims=False)
    return inputs


def _library_convolution(geometry, inputs, kernel):
    return lax.conv_general_dilated(
        inputs,
        kernel,
        geometry.strides,
        geometry.padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=geometry.precision,
    )


def _matmul_convolution(geometry, inputs, kernel):
    """Patches side by side, then one matmul (im2col)."""
    height, width, channels, features = kernel.shape
    padded = jnp.pad(inputs, ((0, 0), *geometry.padding, (0, 0)))
    rows, cols = geometry.output_size(inputs, kernel)
    taps = [_every(padded[:, i:, j:], geometry.strides)[:, :rows, :cols] for i in range(height) for j in range(width)]
    patches = jnp.concatenate(taps, axis=-1).reshape(-1, height * width * channels)
    outputs = jnp.matmul(patches, kernel.reshape(-1, features), precision=geometry.precision)
    return outputs.reshape(inputs.shape[0], rows, cols, features)


def _convolve_one(geometry, inputs, kernel):
    rows, cols = geometry.output_size(inputs, kernel)
    if geometry.platform == "cpu" and rows * cols <= _CPU_MATMUL_MAX_PIXELS:
        return _matmul_convolution(geometry, inputs, kernel)
    return _library_convolution(geometry, inputs, kernel)


def _kernel_gradient(geometry, inputs, kernel, cotangent):
    """Gradient of a kernel on a CPU, as a sum over scans, or bands of a scan's rows, of at most so many pixels each.

    Args:
        inputs: (N, H, W, C).
        kernel: (h, w, C, O).
        cotangent: (N, H', W', O).

    Returns:
        (h, w, C, O).
    """
    scans, rows, cols, _ = cotangent.shape
    if rows * cols <= _CPU_MATMUL_MAX_PIXELS:
        return jax.vjp(lambda w: _matmul_convolution(geometry, inputs, w), kernel)[1](cotangent)[0]
    padded = jnp.pad(inputs, ((0, 0), *geometry.padding, (0, 0)))
    stride, inside = geometry.strides[0], geometry._replace(padding=((0, 0), (0, 0)))
    parts = []
    for of_scans in _even_parts(scans, rows * cols):
        for of_rows in _even_parts(rows, cols) if rows * cols > _CPU_GRADIENT_MAX_PIXELS else [slice(0, rows)]:
            read = slice(of_rows.start * stride, (of_rows.stop - 1) * stride + kernel.shape[0])
            convolve_part = functools.partial(_library_convolution, inside, padded[of_scans, read])
            parts += jax.vjp(convolve_part, kernel)[1](cotangent[of_scans, of_rows])
    return sum(parts[1:], start=parts[0])


def _even_parts(count: int, pixels_each: int) -> list[slice]:
    """The fewest parts of 0 … count - 1 of nearly equal size that keep to the limit of pixels, one item at least."""
    number = -(-count // max(1, _CPU_GRADIENT_MAX_PIXELS // pixels_each))
    bounds = [count * part // number for part in range(number + 1)]
    return [slice(start, stop) for start, stop in itertools.pairwise(bounds)]


def _over_folds(function: Callable, one_at_a_time: bool = False) -> Callable:
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
def _fold_by_fold(geometry, one_at_a_time):
    """The convolution and its gradient, both computed fold by fold under `vmap`."""
    convolve_one = functools.partial(_convolve_one, geometry)

    def gradients(inputs, kernel, cotangent):
        if geometry.platform != "cpu":
            return jax.vjp(convolve_one, inputs, kernel)[1](cotangent)
        (of_inputs,) = jax.vjp(lambda x: convolve_one(x, kernel), inputs)[1](cotangent)
        return of_inputs, _kernel_gradient(geometry, inputs, kernel, cotangent)

    forward = _over_folds(convolve_one, one_at_a_time)
    backward = _over_folds(gradients, one_at_a_time)
    convolution = jax.custom_vjp(forward)
    convolution.defvjp(lambda x, w: (forward(x, w), (x, w)), lambda residuals, dy: backward(*residuals, dy))
    return convolution


_store = _over_folds(lax.optimization_barrier)


@jax.custom_vjp
def stored(x: jax.Array) -> jax.Array:
    """x, for a GPU: written to memory once, fold by fold as convolutions read it, and read from there by all others.

    Otherwise each reader may compute it again, from arrays of its size that are then read once more.
    """
    return _store(x)


stored.defvjp(lambda x: (stored(x), None), lambda _, grad: (grad,))
