"""Random walks over every way of stopping a run and going on: python -m benchmarks.measure_reliability walks

A run is stopped repeatedly, by SIGKILL, SIGTERM or SIGINT, and resumed each time with other processes, devices,
group sizes and calls. Everything is real, the processes, signals, run folder and `GroupProgram`, but the network: it is
a softmax regression with noise and running statistics of its own, so that a start takes a second.
"""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import multiprocessing.connection
import os
import random
import shutil
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from afnet_jax.config import default_config
from afnet_jax.datasets.loading import FaceDataset
from afnet_jax.errors import Interrupted, RunError
from afnet_jax.maps import Maps
from afnet_jax.runs.checkpoint_files import PARTIAL, digest_of_arrays
from afnet_jax.runs.folder import RunFolder, open_checkpoints
from afnet_jax.runs.metrics import MetricsWriter
from afnet_jax.training import processes
from afnet_jax.training.devices import GroupProgram
from afnet_jax.training.group import GroupTraining
from afnet_jax.training.loop import train_and_evaluate
from afnet_jax.training.step import StepMetrics, TrainState

_SUBJECTS, _FOLDS, _EPOCHS, _BATCH, _SIZE = 8, 4, 12, 4, 8
# Those that come early are the more likely, or walks would be short.
_MOMENTS = ("any",) * 2 + ("checkpoint",) * 4 + ("metrics",) * 4 + ("predictions", "last step")
_STOPPED = 130  # exit status
_SECONDS_TO_END = 10.0  # of a process that waits for one that has gone


class _Regression:
    """Stands in for `step.Trainer`."""

    platform = "cpu"
    _optimizer = optax.adam(0.01)

    def init(self, key: jax.Array) -> TrainState:
        params = {"w": 0.1 * jax.random.normal(key, (_SIZE * _SIZE * 3, 6))}
        return TrainState(params, {"mean": jnp.zeros(_SIZE * _SIZE * 3)}, self._optimizer.init(params))

    def train_step(self, state, faces, indices, key, active=None):
        seen = _pixels(faces, indices)
        noise = 0.1 * jax.random.normal(key, seen.shape)

        def loss_of(params):
            logits = (seen + noise - state.batch_stats["mean"]) @ params["w"]
            loss = optax.softmax_cross_entropy_with_integer_labels(logits, faces.labels[indices]).mean()
            return loss, (logits.argmax(-1) == faces.labels[indices]).sum()

        (loss, correct), gradients = jax.value_and_grad(loss_of, has_aux=True)(state.params)
        updates, opt_state = self._optimizer.update(gradients, state.opt_state)
        stats = {"mean": 0.9 * state.batch_stats["mean"] + 0.1 * seen.mean(0)}
        new = TrainState(optax.apply_updates(state.params, updates), stats, opt_state)
        if active is not None:
            new = jax.tree.map(lambda after, before: jnp.where(active, after, before), new, state)
        return new, StepMetrics(loss, correct, optax.global_norm(gradients))

    def logits(self, state, faces, indices):
        return (_pixels(faces, indices) - state.batch_stats["mean"]) @ state.params["w"]


def _pixels(faces, indices: jax.Array) -> jax.Array:
    return faces.maps.texture[indices].reshape(len(indices), -1) / 255


def _program(_, arrays, **options) -> GroupProgram:
    return GroupProgram(_Regression(), arrays, **options)


def _data() -> FaceDataset:
    rng, count = np.random.default_rng(0), 6 * _SUBJECTS
    texture = rng.integers(0, 256, (count, _SIZE, _SIZE, 3)).astype(np.uint8)
    other = np.ones((count, 1, 1, 1), np.float16)
    subjects = np.repeat([f"F{k:04d}" for k in range(_SUBJECTS)], 6)
    labels = np.tile(np.arange(6, dtype=np.int32), _SUBJECTS)
    ids = np.array([f"{subject}_{label}" for subject, label in zip(subjects, labels, strict=True)])
    return FaceDataset(Maps(texture, other, other, other), labels, ids, subjects, np.full(count, 4))


def outcome(workdir: Path) -> dict:
    """All that must be the same: predictions, metrics without their times, the digest of every parameter."""
    with np.load(workdir / "predictions.npz") as file:
        predictions = digest_of_arrays(dict(file))
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    metrics = [{k: v for k, v in line.items() if not k.endswith("seconds")} for line in lines]
    checkpoints = open_checkpoints(workdir)
    stored = sorted(checkpoints.trainings())
    parameters = {f"{round_}/{fold}": digest_of_arrays(checkpoints.weights((round_, fold))) for round_, fold in stored}
    return {"predictions": predictions, "metrics": metrics, "parameters": parameters}


@dataclasses.dataclass(frozen=True)
class Stretch:
    """One stretch of a walk: how the run is started, and how and when it is stopped.

    Attributes:
        processes, devices: how many, and of each process.
        group, dispatch: config.train.folds_per_group and steps_per_dispatch.
        stopped_by: the signal; None where the run may end.
        moment: "any", or what is under way when the signal comes.
        delay: seconds from the process's start ("any") or from the moment to the signal.
        skipped: moments let pass before.
    """

    processes: int = 1
    devices: int = 1
    group: str = "auto"
    dispatch: str = "auto"
    stopped_by: signal.Signals | None = None
    moment: str = "any"
    delay: float = 0.0
    skipped: int = 0

    @classmethod
    def draw(cls, draw: random.Random, longest: float) -> Stretch:
        """A stretch at random, of at most so many seconds where its moment is any."""
        moment = draw.choice(_MOMENTS)
        return cls(
            processes=draw.choice((1, 1, 2)),
            devices=draw.choice((1, 2, 4)),
            group=draw.choice(("auto", "1", "3", "4")),
            dispatch=draw.choice(("1", "1000")),  # a step, or an epoch
            stopped_by=draw.choice((signal.SIGKILL, signal.SIGTERM, signal.SIGINT)),
            moment=moment,
            delay=draw.uniform(0.1, 0.6) * longest if moment == "any" else draw.choice((0.0, 0.002, 0.02)),
            skipped=draw.choice((0, 0, 1)) if moment in ("checkpoint", "metrics") else 0,
        )

    def walk(self, workdir: Path) -> str:
        """Runs it; returns the moment at which it was stopped, or "" if the run came to its end before."""
        with socket.socket() as free:
            free.bind(("localhost", 0))
            address = f"localhost:{free.getsockname()[1]}"
        fork = multiprocessing.get_context("forkserver")
        fork.set_forkserver_preload([__name__])
        started = [fork.Process(target=_run, args=(self, workdir, p, address)) for p in range(self.processes)]
        for process in started:
            process.start()
        multiprocessing.connection.wait([process.sentinel for process in started])
        stopped = self.stopped_by is not None and any(process.exitcode for process in started)
        for process in started:
            if stopped and process.is_alive():
                os.kill(process.pid, self.stopped_by)
            process.join(_SECONDS_TO_END if stopped else None)
            if process.is_alive():
                process.kill()
                process.join()
        # The others of several processes end as they can when the first has gone.
        good = {0, _STOPPED, -signal.SIGKILL, -(self.stopped_by or 0)}
        if started[0].exitcode not in good or (not stopped and any(process.exitcode for process in started)):
            raise RunError(f"{workdir}: the run failed; see {workdir}.log")
        return self.moment if stopped else ""


def _run(stretch: Stretch, workdir: Path, process: int, address: str) -> None:
    """What each process does."""
    log = os.open(f"{workdir}.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    print(f"process {process}: {stretch}", file=sys.stderr, flush=True)
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", stretch.devices)
    config = default_config("texture_no_ma")
    config.protocol.update(subjects=0, folds=_FOLDS, rounds=1)
    config.train.update(epochs=_EPOCHS, batch_size=_BATCH, checkpoint_minutes=1e-5)
    config.train.update(folds_per_group=stretch.group, steps_per_dispatch=stretch.dispatch)
    if stretch.processes > 1:
        config.distributed.update(coordinator=address, processes=stretch.processes, process=process)
    if stretch.stopped_by is not None and process == 0:
        _lie_in_wait(stretch, workdir)
    processes.join(config.distributed)
    try:
        with RunFolder(workdir, process=jax.process_index(), processes=jax.process_count()) as folder:
            train_and_evaluate(config, folder, _data(), program=_program)
    except (Interrupted, KeyboardInterrupt):
        sys.exit(_STOPPED)


def _lie_in_wait(stretch: Stretch, workdir: Path) -> None:
    """Sends this process the signal when its moment has come."""
    passed = 0

    def strike() -> None:
        nonlocal passed
        passed += 1
        if passed == stretch.skipped + 1:
            time.sleep(stretch.delay)
            os.kill(os.getpid(), stretch.stopped_by)

    def later() -> None:
        time.sleep(stretch.delay)
        os.kill(os.getpid(), stretch.stopped_by)

    def watch() -> None:
        seen: set[Path] = set()
        while True:
            for path in set(workdir.glob(f"checkpoints/*/{PARTIAL}")) - seen:
                seen.add(path)
                strike()
            time.sleep(0.001)

    if stretch.moment in ("any", "checkpoint"):
        threading.Thread(target=later if stretch.moment == "any" else watch, daemon=True).start()
    elif stretch.moment == "last step":
        last_step = lambda training, epoch, *_: epoch.number == _EPOCHS - 1 and epoch.step == training._shape.steps  # noqa: E731
        _call_before(GroupTraining, "_notice_failures", strike, last_step)
    else:
        owner, name = {
            "metrics": (MetricsWriter, "append"),
            "predictions": (RunFolder, "write_group_predictions"),  # after metrics and weights
        }[stretch.moment]
        _call_before(owner, name, strike)


def _call_before(owner: type, name: str, strike: Callable[[], None], when: Callable = lambda *_: True) -> None:
    real = getattr(owner, name)

    def wrapped(*args):
        if when(*args):
            strike()
        return real(*args)

    setattr(owner, name, wrapped)


def unbroken(folder: Path) -> tuple[dict, float]:
    """Returns the outcome of an unbroken run, and its seconds."""
    start = time.monotonic()
    Stretch().walk(folder / "unbroken")
    return outcome(folder / "unbroken"), time.monotonic() - start


def take_walk(draw: random.Random, workdir: Path, longest: float, stretches: int) -> Counter[str]:
    """Walks until the run is complete, stopped so often at most; returns how often at which moment."""
    hit: Counter[str] = Counter()
    while hit.total() < stretches:
        moment = Stretch.draw(draw, longest).walk(workdir)
        if not moment:
            return hit
        hit[moment] += 1
    Stretch().walk(workdir)
    return hit


def measure_walks(count: int, seed: int, folder: Path, stretches: int = 60) -> bool:
    """Prints each walk and returns whether all came to the end of the unbroken run."""
    expected, longest = unbroken(folder)
    same, hits = 0, Counter[str]()
    for walk in range(count):
        workdir = folder / f"walk{walk}"
        hit = take_walk(random.Random(f"{seed}/{walk}"), workdir, longest, stretches)
        equal = outcome(workdir) == expected
        same, hits = same + equal, hits + hit
        print(f"walk {walk + 1}/{count}: stopped {hit.total()} times: {'same' if equal else 'DIFFERENT'}", flush=True)
        if equal:
            shutil.rmtree(workdir)
    told = ", ".join(f"{moment} {hits[moment]}" for moment in dict.fromkeys(_MOMENTS))
    print(f"{same} of {count} walks ended as the unbroken run; stopped {hits.total()} times ({told})")
    return same == count
