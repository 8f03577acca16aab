"""Training on streamed scans, measured beside training on the same scans in memory."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np

from afnet_jax.config import default_config
from afnet_jax.datasets.map_files import open_maps, scan_bytes, write_maps
from afnet_jax.maps import Faces
from afnet_jax.training.devices import GroupProgram
from afnet_jax.training.plan import Training
from afnet_jax.training.step import Trainer
from benchmarks.training import random_faces


def benchmark_streaming(*, scans: int, image_size: int, batch: int, steps: int, repeats: int) -> list[dict]:
    """Times the training of one fold with its scans in memory and streamed from files, in turn.

    The files are out of the system's cache when the first turn begins, and each turn reads other scans.

    Args:
        scans: of the data set, noise.
        image_size: edge of the images, pixels.
        batch: scans of a batch.
        steps: of a turn.
        repeats: pairs of turns; medians are told.
    """
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "maps"
        write_maps(place, _noise(scans, image_size), scans, {}, "noise")
        _drop_from_cache(place)
        maps, columns = open_maps(place)
        faces = Faces(maps, columns["label"])
        resident = Faces(jax.tree.map(np.array, maps), columns["label"])
        _drop_from_cache(place)
        turns = {"memory": _turns(resident, batch, False), "stream": _turns(faces, batch, True)}
        taken: dict[str, list[float]] = {name: [] for name in turns}
        rng = np.random.default_rng(0)
        for repeat in range(-1, repeats):  # the first pair compiles
            indices = rng.integers(0, scans, (steps, 1, batch), dtype=np.int32)
            for name in sorted(turns, reverse=bool(repeat % 2)):
                seconds = turns[name](indices)
                taken[name] += [seconds] if repeat >= 0 else []
    ratios = [memory / stream for memory, stream in zip(taken["memory"], taken["stream"], strict=True)]
    return [
        {
            "data": name,
            "scans": scans,
            "image_size": image_size,
            "batch": batch,
            "mib_of_maps": scans * scan_bytes(image_size, ()) / 2**20,
            "scans_per_second": steps * batch / statistics.median(seconds),
            "share_of_rate_in_memory": statistics.median(ratios) if name == "stream" else 1.0,
            "standard_error": statistics.stdev(ratios) / repeats**0.5 if name == "stream" else None,
        }
        for name, seconds in taken.items()
    ]


def _noise(scans: int, size: int) -> Iterator[dict]:
    faces = random_faces(size)
    for scan in range(scans):
        row = scan % len(faces.labels)
        yield {"maps": jax.tree.map(lambda column, row=row: column[row], faces.maps), "label": faces.labels[row]}


def _drop_from_cache(place: Path) -> None:
    for path in place.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _turns(faces: Faces, batch: int, streamed: bool):
    everyone = np.arange(batch, dtype=np.int32)
    group = [Training(0, 0, everyone, everyone)]
    program = GroupProgram(Trainer(default_config()), faces, seed=0, streamed=streamed)
    state = program.init(group)

    def turn(indices: np.ndarray) -> float:
        """Trains step by step, as a run does on a CPU, and returns the seconds."""
        nonlocal state
        start = time.perf_counter()
        feed = program.feed(indices, 1)
        for step in range(len(indices)):
            state, _ = program.train(state, group, step, indices[step : step + 1], np.ones((1, 1), bool), feed)
        return time.perf_counter() - start

    return turn
