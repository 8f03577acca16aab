"""Number of trainings side by side: as many as fit the memory, up to where more of them no longer pay.

The bytes of a training were counted by compiling the training program for a GPU: what `memory_analysis()` tells for
several variants, sizes and types (benchmarks/training-memory.json). `tests/training/test_group_size.py` holds the model
below to those counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
from ml_collections import ConfigDict

from afnet_jax.machine import usable_memory
from afnet_jax.models.architecture import BLOCKS, Architecture, architecture_of
from afnet_jax.models.fusion import fusion_of
from afnet_jax.models.parameters import audit

# Trainings of one device. Beyond this a program hardly gains on a GPU, whatever the images' size, and compiles longer:
# each training adds 100 convolution calls of its own to about 800 kernels that all share. A step has 955 kernels per
# training with one, 248 with 5, 176 with 10, 140 with 20, and above 100 with any number, while the bytes that
# are moved per training fall no further from ten on (docs/gpu_programs.md). A CPU computes them one after the other.
MOST_PER_DEVICE = 20

_STATE_BYTES_PER_PARAMETER = 12  # float32: the weight and Adam's two moments
_AVERAGE_BYTES_PER_PARAMETER = 4  # where weights are averaged
# Beside the state while a step runs. Bytes per parameter, by the type of the computation: the gradient, and the kernels
# in the computation's type and layout.
_WORKING_BYTES_PER_PARAMETER = {"float32": 6.4, "bfloat16": 12.0}
_BYTES = {"float32": 4, "bfloat16": 2}
# Numbers that the backward pass reads, per pixel of an image and trunk: of the trunk itself, and of mask attention.
_VALUES_PER_PIXEL = 96.5
_VALUES_PER_PIXEL_OF_ATTENTION = {
    1: 22.5,
    2: 11.25,
}  # by stage; the second has a quarter of the pixels, twice the channels

# A GPU's limit is what JAX set aside; the rest is for cuDNN's workspaces, evaluation and fragmentation. A CPU's memory
# serves the whole process and others, too.
_SHARE_OF_GPU, _SHARE_OF_CPU = 0.8, 0.6


def folds_per_group(
    config: ConfigDict,
    trainings: int,
    *,
    batch: int,
    per_call: int,
    data_bytes: int = 0,
    devices: Sequence[jax.Device] | None = None,
) -> int:
    """Trainings side by side: a multiple of this process's devices.

    Args:
        config: the run's settings; config.train.folds_per_group is "auto" or a number.
        trainings: how many this process has in all, at most.
        batch: scans of a batch.
        per_call: trainings that one call of the program takes, at most.
        data_bytes: of the data set, which lies on every device.
        devices: of this process; by default JAX's.

    Returns:
        By "auto" at most as many as fit the memory, and so that the groups are of even size.
    """
    devices = jax.local_devices() if devices is None else devices
    setting, count = config.train.folds_per_group, len(devices)
    if setting != "auto":
        return count * math.ceil(min(int(setting), trainings) / count)
    on_cpu = devices[0].platform == "cpu"
    held, working = training_bytes(
        architecture_of(config.model),
        dtype="float32" if on_cpu else config.model.dtype,
        batch=batch,
        size=config.dataset.image_size,
        averaged=bool(config.train.averaging),
    )
    if on_cpu:  # a checkpoint is put together beside the state
        held, room = 2 * held, _SHARE_OF_CPU * usable_memory() / count
    else:
        room = _SHARE_OF_GPU * _device_memory(devices[0])
    fitting = _fitting(room - data_bytes, held, working, math.ceil(per_call / count))
    most = count * min(fitting, MOST_PER_DEVICE)
    return count * math.ceil(trainings / math.ceil(trainings / most) / count)


def data_room() -> float:
    """Returns the bytes that a data set's maps may take in memory and on each device; larger ones are streamed.

    Half of a device's memory is left to trainings. Of the machine's, loading takes twice what it leaves.
    """
    return min(_device_memory(jax.local_devices()[0]) / 2, usable_memory() / 4)


def training_bytes(
    network: Architecture, *, dtype: str, batch: int, size: int, averaged: bool = False
) -> tuple[float, float]:
    """Device memory that one training takes.

    Args:
        network: what is trained.
        dtype: of the computation, config.model.dtype.
        batch: scans of a batch.
        size: edge of the images, pixels.
        averaged: whether a mean of the weights is held beside them (config.train.averaging).

    Returns:
        Bytes of its state, held from step to step, and bytes that it works with within a step.
    """
    parameters = audit(network)["count"]
    attention = sum(
        values
        for stage, values in _VALUES_PER_PIXEL_OF_ATTENTION.items()
        for block in BLOCKS
        if network.has_mask_attention(stage, block)
    )
    pixels = len(fusion_of(network).trunks) * batch * size**2
    activations = _BYTES[dtype] * (_VALUES_PER_PIXEL + attention) * pixels
    working = _WORKING_BYTES_PER_PARAMETER[dtype] * parameters + activations
    return (_STATE_BYTES_PER_PARAMETER + averaged * _AVERAGE_BYTES_PER_PARAMETER) * parameters, working


def _fitting(room: float, held: float, working: float, per_call: int) -> int:
    """Trainings of a device that has `room` bytes, of which `per_call` at a time work; at least one."""
    together = int(room / (held + working))
    if together > per_call:  # more are held than work
        together = int((room - per_call * working) / held)
    return max(1, together)


def _device_memory(device: jax.Device) -> float:
    """Bytes that JAX may take of a device; of a kind that does not tell, as if its memory were the machine's."""
    return (device.memory_stats() or {}).get("bytes_limit", usable_memory())
