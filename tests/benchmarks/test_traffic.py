"""The counter of bytes, on a small program whose bytes are counted by hand."""

from pathlib import Path

import jax
import jax.numpy as jnp

from benchmarks.hlo import read_module
from benchmarks.traffic import bytes_by_kind, kernels, seconds

# A step over 2 folds: a convolution, its ReLU as a fusion that reads the folds apart, a sum, Adam, a slice and an
# update in place.
PROGRAM = (Path(__file__).parent / "step.hlo").read_text()
FEATURES, KERNEL, FOLDS = 8 * 4 * 4 * 16 * 2, 16 * 9 * 16 * 2, 2  # bytes of one fold's


def test_bytes_and_kinds_of_kernels():
    found = {kernel.name: kernel for kernel in kernels(read_module(PROGRAM))}
    assert {name: kernel.kind for name, kernel in found.items()} == {
        "cudnn-conv.1": "convolution",
        "relu": "elementwise",
        "pixel": "movement",
        "copy.1": "movement",
        "fused_adam.1": "optimizer",
        "update": "movement",
        "sum": "normalisation",
    }
    assert found["cudnn-conv.1"].bytes == 2 * FEATURES + KERNEL  # and not its scratch memory
    assert found["cudnn-conv.1"].flops == 2 * (8 * 4 * 4 * 16) * 9 * 16
    assert found["relu"].bytes == 2 * FOLDS * FEATURES
    assert found["pixel"].bytes == 2 * (2 * 16 * 2)  # of all that it is given, a pixel of each fold
    assert found["sum"].bytes == FOLDS * FEATURES + 2 * 16 * 4
    assert found["fused_adam.1"].bytes == 2 * 144 * 4 * 4
    assert found["update"].bytes == 2 * (2 * 4) + 4  # read and written in place, and where
    assert sum(bytes_by_kind(list(found.values())).values()) == sum(kernel.bytes for kernel in found.values())


def test_the_least_time_is_that_of_arithmetic_or_of_bytes():
    found = kernels(read_module(PROGRAM))
    moved, flops = sum(kernel.bytes for kernel in found), sum(kernel.flops for kernel in found)
    assert seconds(found, flops_per_second=1e30, bytes_per_second=1) == moved
    others = moved - (2 * FEATURES + KERNEL)
    assert seconds(found, flops_per_second=1e-3, bytes_per_second=1) == flops / 1e-3 + others


def test_a_program_that_xla_compiled_is_read():
    compiled = jax.jit(lambda x: jnp.sin(x) * 2 + x).lower(jnp.ones((1000, 10), jnp.float32)).compile()
    found = kernels(read_module(compiled.as_text()))
    assert sum(kernel.bytes for kernel in found) == 2 * 1000 * 10 * 4
