"""What share of a run at a GPU's speed is spent outside the device: python -m benchmarks.simulated_device

Trains as `afnet_jax.training.loop` does, in a true run folder on a true disk, but a stand-in computes: it sleeps for as
long as a device would take and hands back states of the true size. Prints and, with --json, stores the seconds in the
device and outside it by cause, the bytes written, and both for the paper's protocol of 1,000 trainings.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from afnet_jax.config import default_config
from afnet_jax.datasets.loading import FaceDataset
from afnet_jax.maps import Maps
from afnet_jax.runs import background, checkpoint_files
from afnet_jax.runs.folder import RunFolder
from afnet_jax.runs.metrics import MetricsWriter
from afnet_jax.runs.tensorboard import Events
from afnet_jax.training.feeding import Resident
from afnet_jax.training.loop import train_and_evaluate
from afnet_jax.training.step import StepMetrics

_PARAMETERS = 23_300_000
_PROTOCOL = 1000
_SUBJECTS, _SCANS_EACH = 60, 12


class SimulatedDevice:
    """Stands in for `devices.GroupProgram`.

    Args:
        step: seconds of one step of one training.
        copy: bytes a second from the device to the host.
    """

    platform = "cuda"

    def __init__(self, step: float, copy: float):
        self.compile_seconds = 0.0
        self.seconds = 0.0
        self.began = 0.0  # when the first trainings were taken up; reading data and configs comes before
        self._step = step
        self._copy = copy
        self._host: itertools.cycle | None = None

    def __call__(self, _, faces, **__) -> SimulatedDevice:
        self.data = Resident(faces, ())
        return self

    def _work(self, seconds: float) -> None:
        self.seconds += seconds
        time.sleep(seconds)

    def places(self, trainings: int, group_size: int) -> int:
        return trainings

    def init(self, group):
        each = (len(group), _PARAMETERS)
        state = {
            "params": {"w": np.ones(each, np.float32)},
            "batch_stats": {"m": np.zeros((len(group), 10_000), np.float32)},
            "opt_state": {"mu": np.ones(each, np.float32), "nu": np.ones(each, np.float32)},
        }
        # Where copies go in turn, one of them being written. Touched before the clock starts: a virtual machine
        # gets memory from its host at first touch, thirty times slower than it is written later.
        self._host = self._host or itertools.cycle([jax.tree.map(np.copy, state) for _ in range(2)])
        self.began = self.began or time.monotonic()  # a true device's state lies in its own memory
        return state

    def feed(self, indices, stride):
        return None

    def train(self, state, group, first_step, indices, active, feed=None):
        steps = len(indices)
        self._work(self._step * steps * len(group))
        numbers = np.full((steps, len(group)), 0.5, np.float32)
        return state, StepMetrics(numbers, np.full((steps, len(group)), 16, np.int32), numbers)

    def evaluate(self, state, batches):
        # A forward pass is a third of a step.
        self._work(self._step / 3 * batches.shape[0] * batches.shape[1])
        return np.zeros((batches.shape[1], batches.shape[0] * batches.shape[2], 6), np.float32)

    def take_compile_seconds(self) -> float:
        return 0.0

    def to_arrays(self, state, *, weights_alone: bool = False):
        assert self._host is not None
        kept = [name for name in state if name != "opt_state" or not weights_alone]
        chosen, held = ({name: whole[name] for name in kept} for whole in (state, next(self._host)))
        time.sleep(sum(leaf.nbytes for leaf in jax.tree.leaves(chosen)) / self._copy)
        jax.tree.map(np.copyto, held, chosen)
        return held

    def from_arrays(self, arrays):
        return arrays


def _data() -> FaceDataset:
    """Random scans; subjects and labels as in BU-3DFE's protocol."""
    count = _SUBJECTS * _SCANS_EACH
    labels = np.tile(np.arange(_SCANS_EACH, dtype=np.int32) % 6, _SUBJECTS)
    maps = [np.zeros((count, 1, 1, channels), np.uint8) for channels in (3, 1, 1, 1)]
    who = np.repeat([f"F{k:04d}" for k in range(_SUBJECTS)], _SCANS_EACH)
    ids = np.array([f"{subject}_{i:02d}" for i, subject in enumerate(who)])
    return FaceDataset(Maps(*maps), labels, scan_ids=ids, subjects=who, levels=np.full(count, 4))


class _Clock:
    """Adds up, by name, the seconds that functions take."""

    def __init__(self):
        self.seconds: Counter[str] = Counter()

    def watch(self, owner, name: str, what: str) -> None:
        real: Callable = getattr(owner, name)

        def timed(*args, **options):
            start = time.monotonic()
            try:
                return real(*args, **options)
            finally:
                self.seconds[what] += time.monotonic() - start

        setattr(owner, name, timed)


def measure(trainings: int, epochs: int, step: float, minutes: float, copy: float, folder: Path) -> dict:
    """Runs one round of `trainings` folds and returns what it took."""
    config = default_config()
    with config.unlocked():
        config.dataset.name = "bu3dfe"
        config.protocol.update(subjects=0, folds=trainings, rounds=1)
        config.train.update(epochs=epochs, checkpoint_minutes=minutes, folds_per_group=str(trainings))
        config.train.steps_per_dispatch = "1000"
    device, clock = SimulatedDevice(step, copy), _Clock()
    clock.watch(SimulatedDevice, "to_arrays", "copying states to the host")
    clock.watch(background.BackgroundWriter, "wait", "waiting for a write")
    clock.watch(MetricsWriter, "append", "metrics.jsonl")
    clock.watch(Events, "add", "event files")
    written: list[int] = []
    real = checkpoint_files.save_checkpoint

    def counted(path, arrays, record):
        real(path, arrays, record)
        written.append(sum(file.stat().st_size for file in path.rglob("*") if file.is_file()))

    checkpoint_files.save_checkpoint = counted
    start = time.monotonic()
    with RunFolder(folder) as held:
        train_and_evaluate(config, held, _data(), program=device)
    total = time.monotonic() - device.began
    other = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file() and "checkpoints" not in f.parts)
    scale = _PROTOCOL / trainings
    kept = min(1.0, 10 * config.train.keep_rounds / _PROTOCOL)  # of the protocol's trainings; here all are kept
    return {
        "trainings": trainings,
        "epochs": epochs,
        "checkpoint_minutes": minutes,
        "seconds_to_start": device.began - start,
        "seconds": total,
        "seconds_in_device": device.seconds,
        "share_outside": 1 - device.seconds / total,
        "seconds_outside_by_cause": dict(clock.seconds),
        "checkpoints": len(written),
        "bytes": {"under_way": sum(written[:-1]), "finished_weights": sum(written[-1:]), "others": other},
        "protocol": {
            "hours": total * scale / 3600,
            "gigabytes": scale * (sum(written[:-1]) + kept * sum(written[-1:]) + other) / 1e9,
        },
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trainings", type=int, default=17, help="side by side; each takes 1 GB here (default: 17)")
    parser.add_argument("--epochs", type=int, default=70)
    parser.add_argument("--step", type=float, default=0.0023, help="seconds of a step of a training (default: 0.0023)")
    parser.add_argument("--minutes", type=float, default=10.0, help="train.checkpoint_minutes (default: 10)")
    parser.add_argument("--copy", type=float, default=20e9, help="bytes a second from the device (default: 20e9)")
    parser.add_argument("--folder", help="on the disk to be measured (default: a temporary one)")
    parser.add_argument("--json", help="file to store the figures in")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        figures = measure(given.trainings, given.epochs, given.step, given.minutes, given.copy, Path(folder) / "run")
    print(json.dumps(figures, indent=1))
    if given.json:
        Path(given.json).write_text(json.dumps(figures, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
