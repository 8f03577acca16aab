"""Compiles one program for a GPU on a machine without one, and prints what is known of it as a line of JSON.

Called by `gpu_programs` in a process of its own, for a fault of XLA's compiler ends the process.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("JAX_SKIP_CUDA_CONSTRAINTS_CHECK", "1")

import jax
from jax.experimental import topologies

from benchmarks.hlo import read_module
from benchmarks.programs import Shape, make_program
from benchmarks.traffic import bytes_by_kind, kernels, seconds

DEVICE = Path(__file__).parent / "h200.txtpb"
FLOPS_PER_SECOND = {"bfloat16": 989e12, "float32": 494e12}  # an H200's data sheet, dense; TF32 for float32
BYTES_PER_SECOND = 4.8e12
# What a program may hope for of either: 681 GFLOP of bfloat16 in 0.9 ms, 7.7 GB in 1.8 ms.
_SUSTAINED_FLOPS, _SUSTAINED_BYTES = 0.765, 0.891
# Without a device no kernel can be timed: the choice that a table of bytes is counted for is left to no tuning.
_UNTUNED = {"xla_gpu_autotune_level": 0, "xla_gpu_enable_triton_gemm": False}


def compile_program(name: str, shape: Shape, options: dict) -> tuple:
    """A compiled program and the seconds that lowering and compiling took."""
    device = topologies.get_topology_desc("h200", "cuda", target_config=DEVICE.read_text(), topology="1x1x1").devices[0]
    here = jax.sharding.SingleDeviceSharding(device)
    function, arguments = make_program(name, shape)
    arguments = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=here), arguments)
    start, cpu_start = time.monotonic(), time.process_time()
    compiled = function.trace(*arguments).lower(lowering_platforms=("cuda",)).compile(compiler_options=options)
    return compiled, time.monotonic() - start, time.process_time() - cpu_start


def describe(name: str, shape: Shape, *, count_bytes: bool) -> dict:
    """Seconds, bytes of memory, kernels and, where asked, bytes moved a step and the time they take."""
    compiled, wall, cpu = compile_program(name, shape, _UNTUNED if count_bytes else {})
    memory, found = compiled.memory_analysis(), kernels(read_module(compiled.as_text()))
    told = {
        "seconds": round(wall, 1),
        "cpu_seconds": round(cpu, 1),
        "argument_bytes": memory.argument_size_in_bytes,
        "temporary_bytes": memory.temp_size_in_bytes,
        "bytes_per_fold": (memory.argument_size_in_bytes + memory.temp_size_in_bytes) // shape.folds,
        "kernels": len(found),
        "convolution_calls": sum(kernel.flops > 0 for kernel in found),
    }
    if count_bytes:
        told["bytes_moved_per_fold"] = {kind: b // shape.folds for kind, b in bytes_by_kind(found).items()}
        peak = FLOPS_PER_SECOND[shape.dtype], BYTES_PER_SECOND
        sustained = _SUSTAINED_FLOPS * peak[0], _SUSTAINED_BYTES * peak[1]
        for key, (flops, moved) in {"least_ms_per_fold": peak, "sustained_ms_per_fold": sustained}.items():
            taken = seconds(found, flops_per_second=flops, bytes_per_second=moved)
            told[key] = round(1000 * taken / shape.folds, 3)
    return told


if __name__ == "__main__":
    request = json.loads(sys.argv[1])
    print(json.dumps(describe(request["program"], Shape(**request["shape"]), count_bytes=request["count_bytes"])))
