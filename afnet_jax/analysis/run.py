"""A run folder, opened for analysis: numbers, predictions, weights and ready models."""

from __future__ import annotations

import functools
import json
import zipfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from afnet_jax import protocol
from afnet_jax.config import default_config
from afnet_jax.errors import RunError
from afnet_jax.models.afnet import AFNet
from afnet_jax.training.checkpoints import Checkpoints
from afnet_jax.training.step import Trainer


def load_run(path: str | Path) -> Run:
    """Opens a run folder that `python -m afnet_jax.main` wrote.

    Raises:
        RunError: no run folder, or a damaged one.
    """
    path = Path(path)
    if not (path / "config.json").is_file():
        raise RunError(f"{path}: no run here (no config.json); give a folder that afnet_jax.main had as --workdir")
    return Run(path)


class Run:
    """A run folder. Everything is read when it is asked for.

    Attributes:
        path: the folder.
    """

    def __init__(self, path: Path):
        self.path = path

    @functools.cached_property
    def config(self) -> ConfigDict:
        """The run's settings, see `afnet_jax.config`."""
        stored = self._json("config.json")
        config = default_config(stored["variant"])
        with config.ignore_type():
            config.update(stored)
        return config

    @property
    def summary(self) -> dict:
        """Content of summary.json.

        Raises:
            RunError: the run has not got that far.
        """
        return self._json("summary.json")

    @property
    def environment(self) -> dict:
        """Versions, devices and git commit of the run."""
        return self._json("environment.json")

    @functools.cached_property
    def splits(self) -> tuple[protocol.Fold, ...]:
        """Subject ids of every fold of every round."""
        return protocol.read_splits(self.path / "splits.json")

    @property
    def metrics(self) -> list[dict]:
        """Lines of metrics.jsonl: one per round and epoch (and group, where a round is trained in several)."""
        lines = []
        for path in sorted(self.path.glob("metrics*.jsonl")):
            lines += [json.loads(line) for line in path.read_text().splitlines()]
        return sorted(lines, key=lambda line: (line["round"], line["epoch"], line["folds"]))

    @property
    def predictions(self) -> dict[str, np.ndarray]:
        """Columns round, fold, scan_id, label and logits (rows, 6): one row per test scan and round.

        Raises:
            RunError: nothing has been predicted yet, or the file is damaged.
        """
        path = self.path / "predictions.npz"
        try:
            with np.load(path, allow_pickle=False) as file:
                return dict(file)
        except FileNotFoundError as error:
            raise RunError(f"{path}: not there yet; the run is not finished, start it again to go on") from error
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise RunError(f"{path}: damaged ({error}); make it again with --mode=evaluate") from error

    def params(self, round: int) -> dict[str, Any]:
        """Trained weights of a round: nested dicts of float32 arrays, the round's folds stacked on axis 0.

        Raises:
            RunError: weights of this round were not kept (config.train.keep_rounds), or are damaged.
        """
        return self._weights(round)[0]

    def batch_stats(self, round: int) -> dict[str, Any]:
        """Running means and variances of a round's folds, stacked likewise."""
        return self._weights(round)[1]

    def model(self, round: int = 0, fold: int = 0) -> AFNet:
        """One trained network: `model(texture, depth, mask56, mask28) -> logits`, see `AFNet.__call__`."""
        params, batch_stats = (jax.tree.map(lambda a: jnp.asarray(a[fold]), w) for w in self._weights(round, fold))
        return Trainer(self.config).model(params, batch_stats)

    def _weights(self, round_: int, fold: int | None = None) -> tuple[dict, dict]:
        folds = [f.fold for f in self.splits if f.round == round_]
        if not folds or (fold is not None and fold not in folds):
            raise RunError(f"{self.path}: has no round {round_}" + ("" if fold is None else f", fold {fold}"))
        found = self._round_weights(round_)
        if missing := [f for f in folds if f not in found]:
            raise RunError(
                f"{self.path}: weights of round {round_} fold {missing[0]} are not stored; finish the run, "
                f"or train with --config.train.keep_rounds above {round_}"
            )
        return tuple(
            jax.tree.map(lambda *leaves: np.stack(leaves), *[found[f][part] for f in folds])
            for part in ("params", "batch_stats")
        )

    @functools.lru_cache(maxsize=1)  # noqa: B019  a run lives as long as its analysis
    def _round_weights(self, round_: int) -> dict[int, dict]:
        found = {}
        for folder in sorted(self.path.glob("checkpoints/*")):
            checkpoints = Checkpoints(folder)
            if not checkpoints.steps() or not _may_hold(folder.name, round_):
                continue
            arrays, record = checkpoints.restore_newest()
            for place, (r, f) in enumerate(record["trainings"]):
                if r == round_:
                    found[f] = jax.tree.map(lambda leaf, place=place: leaf[place], arrays)
        return found

    def _json(self, name: str) -> dict:
        path = self.path / name
        try:
            return json.loads(path.read_text())
        except FileNotFoundError as error:
            raise RunError(f"{path}: not there yet; the run is not finished, start it again to go on") from error
        except ValueError as error:
            raise RunError(f"{path}: damaged ({error})") from error


def _may_hold(name: str, round_: int) -> bool:
    """Whether a checkpoint folder, named after its first and last training, may hold a round."""
    first, last = (int(part.removeprefix("round")[:3]) for part in name.split("-"))
    return first <= round_ <= last
