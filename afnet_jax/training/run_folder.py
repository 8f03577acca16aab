"""The folder of a run: what it holds, who may write to it, and what it must not be mixed with.

config.json, environment.json, splits.json, metrics.jsonl, predictions.npz and checkpoints/, see README.md.
"""

from __future__ import annotations

import fcntl
import importlib.metadata
import json
import os
import platform
import subprocess
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

import afnet_jax
from afnet_jax import protocol
from afnet_jax.config import flat, without_retired_fields
from afnet_jax.errors import RunError
from afnet_jax.paths import user_path
from afnet_jax.training.plan import Training

# What may differ when a run goes on: it changes where and how fast things are computed, not what comes out.
_MAY_CHANGE = (
    "dataset.data_dir",
    "train.folds_per_group",
    "train.folds_per_call",
    "train.steps_per_dispatch",
    "train.checkpoint_every",
    "train.keep_rounds",
    "distributed.coordinator",
    "distributed.processes",
    "distributed.process",
    "profile",
    "compilation_cache",
)
_PREDICTIONS = "predictions.npz"
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "scipy", "tensorflow-datasets")


class RunFolder:
    """A run's folder, held by this process alone until `close`.

    Args:
        path: the folder; made where it does not exist.
        process: index of this process among those of the run.

    Raises:
        RunError: another process is working in it.
    """

    def __init__(self, path: str | Path, *, process: int = 0):
        self.path = user_path(path).absolute()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = (self.path / f".lock-{process}").open("a+", encoding="utf-8")
        except OSError as error:
            raise RunError(f"{self.path}: cannot be written to ({error.strerror}); give another --workdir") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.seek(0)
            holder = self._lock.read().strip() or "unknown"
            raise RunError(
                f"{self.path}: a run is already under way here ({holder}); wait for it, stop it, "
                f"or give another --workdir"
            ) from error
        self._lock.truncate(0)
        self._lock.write(f"process {os.getpid()} on {platform.node()}")
        self._lock.flush()
        self._process = process

    def close(self) -> None:
        """Gives the folder back."""
        self._lock.close()

    def start(self, config: ConfigDict, folds: Sequence[protocol.Fold], data_digest: str) -> None:
        """Writes down what is going to be run, or makes sure that it is what was begun here.

        Args:
            config: the run's settings.
            folds: all of its trainings.
            data_digest: SHA-256 of the data set's arrays.

        Raises:
            RunError: the folder holds a run with another config, other data, splits or version; names what differs.
        """
        begun = {
            "config.json": json.loads(config.to_json()),
            "environment.json": _environment(data_digest),
            "splits.json": json.loads(protocol.to_json(folds)),
        }
        if (self.path / "splits.json").exists():  # the last one that is written
            for name, compare in (("config.json", _config), ("environment.json", _identity), ("splits.json", _whole)):
                self._refuse_difference(name, compare(self._read_json(name)), compare(begun[name]))
            return
        if self._process == 0:
            for name, content in begun.items():
                write_atomically(self.path / name, json.dumps(content, indent=1) + "\n")

    def _refuse_difference(self, name: str, before: dict, now: dict) -> None:
        differing = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        if differing:
            told = "; ".join(
                f"{key} was {_short(before.get(key))} and is {_short(now.get(key))}" for key in differing[:8]
            )
            raise RunError(
                f"{self.path / name}: this folder holds another run: {told}; "
                f"go on with what it was begun with, or give another --workdir"
            )

    def _read_json(self, name: str) -> Any:
        try:
            return json.loads((self.path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(f"{self.path / name}: cannot be read ({error}); remove the folder to start anew") from error

    def checkpoint_folder(self, group: Sequence[Training]) -> Path:
        """Where a group's checkpoints and predictions lie, named after its first and last training."""
        first, last = group[0], group[-1]
        return (
            self.path
            / "checkpoints"
            / f"round{first.round:03d}_fold{first.fold:02d}-round{last.round:03d}_fold{last.fold:02d}"
        )

    def checkpoint_folders(self) -> list[Path]:
        """Those of all groups so far, whatever their sizes were."""
        return sorted((self.path / "checkpoints").glob("*/"))

    def write_group_predictions(self, group: Sequence[Training], logits: np.ndarray, failed: dict) -> None:
        """Stores a finished group's predictions; trainings whose numbers stopped being finite have none.

        Args:
            group: the trainings.
            logits: (at least len(group), at least the test scans, 6).
            failed: "round/fold" -> {"epoch", "step"} of those that were given up.
        """
        rows = [
            (t.round, t.fold, scan, values)
            for t, outputs in zip(group, logits, strict=False)
            if f"{t.round}/{t.fold}" not in failed
            for scan, values in zip(t.test, outputs, strict=False)
        ]
        rounds, folds, scans, values = zip(*rows, strict=True) if rows else ((), (), (), ())
        folder = self.checkpoint_folder(group)
        folder.mkdir(parents=True, exist_ok=True)
        write_arrays_atomically(
            folder / _PREDICTIONS,
            {
                "round": np.array(rounds, np.int32),
                "fold": np.array(folds, np.int32),
                "scan": np.array(scans, np.int32),
                "logits": np.array(values, np.float32).reshape(len(rows), logits.shape[-1]),
                "trainings": np.array([(t.round, t.fold) for t in group], np.int32),
                "failed": np.array(json.dumps(failed)),
            },
        )

    def group_predictions(self) -> list[dict[str, np.ndarray]]:
        """What `write_group_predictions` stored, of every finished group."""
        found = []
        for path in sorted(self.path.glob(f"checkpoints/*/{_PREDICTIONS}")):
            try:
                with np.load(path, allow_pickle=False) as file:
                    found.append(dict(file))
            except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
                raise RunError(f"{path}: damaged ({error}); remove it to train this group again") from error
        return found

    def finished_trainings(self) -> set[tuple[int, int]]:
        """(round, fold) of every training that is finished or was given up."""
        return {tuple(pair) for part in self.group_predictions() for pair in part["trainings"].tolist()}

    def write_estimate(self, content: dict) -> None:
        """Stores how long the whole run was estimated to take."""
        write_atomically(self.path / "estimate.json", json.dumps(content, indent=1) + "\n")

    def append_metrics(self, lines: Sequence[dict]) -> None:
        """Adds lines to metrics.jsonl."""
        with self._metrics_path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)
            file.flush()
            os.fsync(file.fileno())

    def drop_metrics(self, group: Sequence[Training], from_epoch: int) -> None:
        """Removes a group's lines from an epoch on, which is about to be trained again after an interruption."""
        if not self._metrics_path.exists():
            return
        members = {(t.round, t.fold) for t in group}
        kept = []
        for text in self._metrics_path.read_text(encoding="utf-8").splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                continue  # the last line of a process that was killed while it wrote
            if line["epoch"] < from_epoch or (line["round"], line["folds"][0]) not in members:
                kept.append(text + "\n")
        write_atomically(self._metrics_path, "".join(kept))

    @property
    def _metrics_path(self) -> Path:
        # One file for each process, put together at the end: several hosts must not append to one.
        return self.path / ("metrics.jsonl" if self._process == 0 else f"metrics-{self._process}.jsonl")


def write_atomically(path: Path, text: str) -> None:
    """Writes a whole file or, if interrupted, none."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def write_arrays_atomically(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """The same for an .npz."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # none of them is named allow_pickle
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _config(content: dict) -> dict:
    fields = flat(without_retired_fields(content))
    return {key: value for key, value in fields.items() if key not in _MAY_CHANGE}


def _identity(content: dict) -> dict:
    return {"data set (sha256)": content.get("data_sha256"), "afnet_jax version": content.get("afnet_jax")}


def _whole(content: dict) -> dict:
    return {"splits": content}


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "…"


def _environment(data_digest: str) -> dict:
    return {
        "afnet_jax": afnet_jax.__version__,
        "git_commit": _git_commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "backend": jax.default_backend(),
        "devices": [str(device.device_kind) for device in jax.devices()],
        "processes": jax.process_count(),
        "data_sha256": data_digest,
    }


def _git_commit() -> str | None:
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None  # installed from a wheel
    return found.stdout.strip()
