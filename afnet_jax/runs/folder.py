"""The folder of a run: its lock, its settings, and the paths of its files.

config.json, environment.json, splits.json, metrics.jsonl, predictions.npz, checkpoints/ and more, see README.md.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from absl import logging
from ml_collections import ConfigDict

import afnet_jax
from afnet_jax import protocol
from afnet_jax.atomic_files import read_json, write_json
from afnet_jax.config import default_config, flat, without_retired_fields
from afnet_jax.errors import RunError
from afnet_jax.paths import user_path
from afnet_jax.runs import predictions
from afnet_jax.runs.checkpoints import Checkpoints, label, remove_half_written
from afnet_jax.runs.lock import Lock
from afnet_jax.runs.metrics import MetricsWriter, gather_metrics
from afnet_jax.runs.predictions import GroupPredictions, Key
from afnet_jax.runs.tensorboard import draw_metrics

# What may differ when a run goes on: it changes where and how fast things are computed; what comes out stays the same,
# to rounding where another number of trainings shares a call.
_MAY_CHANGE = (
    "dataset.data_dir",
    "dataset.placement",
    "train.folds_per_group",
    "train.folds_per_call",
    "train.steps_per_dispatch",
    "train.checkpoint_minutes",
    "train.keep_rounds",
    "distributed.coordinator",
    "distributed.processes",
    "distributed.process",
    "profile",
    "compilation_cache",
)
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "scipy", "tensorflow-datasets")
_PRETRAINED = "pretrained weights (sha256)"
_ESTIMATE, _SUMMARY, _BASELINES = "estimate.json", "summary.json", "baselines.json"
_WRITTEN_LATER = ("metrics.jsonl", predictions.POOLED, _SUMMARY)  # than config.json


class RunFolder:
    """A run's folder, held by this process alone until `close`.

    Args:
        path: the folder; made where it does not exist.
        process: index of this process among those of the run.
        processes: how many the run has.

    Attributes:
        metrics: this process's lines of metrics.jsonl.

    Raises:
        RunError: another process is working in it.
    """

    def __init__(self, path: str | Path, *, process: int = 0, processes: int = 1):
        self.path = user_path(path).absolute()
        self._lock = Lock(self.path, process, processes)
        self._process = process
        self.metrics = MetricsWriter(self.path, process)

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Releases the folder."""
        self._lock.close()

    def start(
        self,
        config: ConfigDict,
        folds: Sequence[protocol.Fold],
        data_digest: str,
        started_from: dict[str, Any] | None = None,
        pretrained_sha256: str | None = None,
    ) -> None:
        """Stores the settings of a new run, or checks that they agree with those of the run in the folder.

        Args:
            config: the run's settings.
            folds: all of its trainings.
            data_digest: SHA-256 of the data set's arrays.
            started_from: "source", "sha256" and more of the weights that config.model.start_from names; None where it
                names none, or where nothing will start.
            pretrained_sha256: likewise of config.model.pretrained.

        Raises:
            RunError: the folder holds a run with another config, other data, splits or version; names what differs.
        """
        self._refuse_foreign()
        begun = {
            "config.json": _settings(config),
            "environment.json": _environment(data_digest)
            | ({"start_from": started_from} if started_from else {})
            | ({"pretrained_sha256": pretrained_sha256} if pretrained_sha256 else {}),
            "splits.json": json.loads(protocol.to_json(folds)),
        }
        if (self.path / "splits.json").exists():  # the last one that is written
            for name, compare in (("config.json", _config), ("environment.json", _identity), ("splits.json", _whole)):
                self._refuse_difference(name, compare(self._read(name)), compare(begun[name]))
            if started_from:
                told = _starting_weights(self._read("environment.json"))
                self._refuse_difference("environment.json", told, _starting_weights(begun["environment.json"]))
            if pretrained_sha256:
                told = {_PRETRAINED: self._read("environment.json").get("pretrained_sha256", pretrained_sha256)}
                self._refuse_difference("environment.json", told, {_PRETRAINED: pretrained_sha256})
            return
        if self._process == 0:
            for name, content in begun.items():
                write_json(self.path / name, content)

    def _refuse_foreign(self) -> None:
        """Refuses a folder that holds files of a run's names which no run has written: they would be lost."""
        begun = (self.path / "config.json").exists()
        content = self._read("config.json") if begun else {}
        of_run = isinstance(content, dict) and {"variant", "model", "train"} <= content.keys()
        foreign = "config.json" if begun and not of_run else None
        if not begun:
            foreign = next((name for name in _WRITTEN_LATER if (self.path / name).exists()), None)
        if foreign:
            raise RunError(f"{self.path / foreign}: is none of a run's, and would be lost; give another --workdir")

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

    def _read(self, name: str) -> Any:
        return read_json(self.path / name, remedy="remove the folder to start anew")

    def tidy(self) -> None:
        """Removes what killed processes left half written. No process of the run may be writing."""
        remove_half_written(self._checkpoints)

    def gather_metrics(self, reached: dict[Key, int] | None = None) -> None:
        """Makes one metrics.jsonl of all processes' lines and draws it anew; see `metrics.gather_metrics`."""
        draw_metrics(self.path, gather_metrics(self.path, reached))

    @property
    def _checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def checkpoints(self) -> Checkpoints:
        """Returns the progress of each training as stored now."""
        return open_checkpoints(self.path)

    def write_group_predictions(self, group: GroupPredictions) -> None:
        """Stores what a finished group predicts."""
        group.write(self._checkpoints / label(group.trainings))

    def group_predictions(self) -> list[GroupPredictions]:
        """Returns predictions of finished groups; damaged files are named, and their trainings count as unfinished."""
        return list(predictions.read_group_predictions(self._checkpoints, _name_damaged))

    def write_estimate(self, content: dict) -> None:
        """Stores how long the run was estimated to take at first; the first of several processes alone does."""
        if self._process == 0 and not (self.path / _ESTIMATE).exists():
            write_json(self.path / _ESTIMATE, content)


def _name_damaged(path: Path, reason: str) -> None:
    logging.warning("%s: damaged (%s); these trainings go on from what is stored of them", path, reason)


def open_checkpoints(run_folder: Path) -> Checkpoints:
    """The checkpoints of a run folder, whoever holds it."""
    return Checkpoints(run_folder.absolute() / "checkpoints")  # Orbax takes no relative path


def write_summary(run_folder: Path, summary: dict) -> None:
    """Writes summary.json."""
    write_json(run_folder / _SUMMARY, summary)


def write_baselines(run_folder: Path, baselines: dict) -> None:
    """Writes baselines.json."""
    write_json(run_folder / _BASELINES, baselines)


def read_baselines(run_folder: Path) -> dict | None:
    """Reads baselines.json; None where no linear model was compared with the run.

    Raises:
        RunError: it is damaged.
    """
    path = run_folder / _BASELINES
    return read_json(path, remedy="write it again with afnet compare") if path.exists() else None


def read_run_file(run_folder: Path, name: str) -> Any:
    """Reads summary.json, config.json or environment.json, named without its suffix.

    Raises:
        RunError: it is not there yet, or damaged.
    """
    path = run_folder / f"{name}.json"
    if not path.exists():
        raise RunError(f"{path}: not there yet; the run is not finished, start it again to go on")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{path}: damaged ({error})") from error


def is_run_folder(path: Path) -> bool:
    """Tells whether a run was begun there."""
    return (path / "config.json").is_file()


def read_splits(run_folder: Path) -> tuple[protocol.Fold, ...]:
    """Subject ids of every fold of every round."""
    return protocol.read_splits(run_folder / "splits.json", setting="")


def same_settings(one: ConfigDict, other: ConfigDict) -> bool:
    """Tells whether two configs give the same results, wherever and however fast they are computed."""
    return _config(_settings(one)) == _config(_settings(other))


def _settings(config: ConfigDict) -> dict:
    """Returns the content of config.json, with an absolute path to the data set."""
    settings = json.loads(config.to_json())
    settings["dataset"]["data_dir"] = str(user_path(settings["dataset"]["data_dir"]).absolute())
    return settings


def _config(content: dict) -> dict:
    # Fields that came later are as they are left alone.
    fields = flat(default_config().to_dict()) | flat(without_retired_fields(content))
    return {key: value for key, value in fields.items() if key not in _MAY_CHANGE}


def _identity(content: dict) -> dict:
    return {"data set (sha256)": content.get("data_sha256"), "afnet_jax version": content.get("afnet_jax")}


def _starting_weights(content: dict) -> dict:
    return {"starting weights (sha256)": content.get("start_from", {}).get("sha256")}


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
    if not (Path(__file__).parents[2] / ".git").exists():
        return None  # installed from a wheel, perhaps within another project's repository
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
        return None  # no git, or a damaged repository
    return found.stdout.strip()
