"""A run folder, opened for analysis: numbers, predictions, weights and ready models."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
from ml_collections import ConfigDict

import afnet_jax
from afnet_jax import protocol
from afnet_jax.config import default_config, without_retired_fields
from afnet_jax.errors import RunError
from afnet_jax.gpu import check_gpu
from afnet_jax.maps import Maps
from afnet_jax.models.afnet import AFNet
from afnet_jax.models.inputs import mirrored
from afnet_jax.models.network import Network
from afnet_jax.paths import user_path
from afnet_jax.runs import folder as run_files
from afnet_jax.runs.checkpoints import Checkpoints
from afnet_jax.runs.metrics import read_metrics
from afnet_jax.runs.predictions import read_predictions
from afnet_jax.scans.scan import EXPRESSION_CODES


def load_run(path: str | Path) -> Run:
    """Opens a run folder that `python -m afnet_jax.main` wrote.

    Raises:
        RunError: no run folder, a damaged one, or one of a version with other settings.
    """
    path = user_path(path)
    if not run_files.is_run_folder(path):
        raise RunError(f"{path}: no run here (no config.json); give the --workdir of afnet train")
    run = Run(path)
    run.config  # noqa: B018  read now: whoever opens a run should learn at once that it cannot be read
    return run


class Run:
    """A run folder. Everything is read when it is asked for.

    Attributes:
        path: the folder.
    """

    def __init__(self, path: Path):
        self.path = path
        self._checkpoints: Checkpoints | None = None  # kept once they have given weights, which stay

    @functools.cached_property
    def config(self) -> ConfigDict:
        """The run's settings, see `afnet_jax.config`."""
        stored = self._json("config")
        try:
            config = default_config(stored["variant"])
            with config.ignore_type():
                config.update(without_retired_fields(stored))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            theirs = self._json("environment").get("afnet_jax", "another version")
            raise RunError(
                f"{self.path / 'config.json'}: written by afnet_jax {theirs}, whose settings {afnet_jax.__version__} "
                f"does not know ({' '.join(str(error).split())[:120]}); analyse it with the version that wrote it"
            ) from error
        return config

    @property
    def summary(self) -> dict:
        """Content of summary.json.

        Raises:
            RunError: the run has not got that far.
        """
        return self._json("summary")

    @property
    def baselines(self) -> dict | None:
        """Content of baselines.json, see `analysis.baselines.run_baselines`; None where none were compared."""
        return run_files.read_baselines(self.path)

    @property
    def environment(self) -> dict:
        """Versions, devices and git commit of the run."""
        return self._json("environment")

    @functools.cached_property
    def splits(self) -> tuple[protocol.Fold, ...]:
        """Subject ids of every fold of every round."""
        return run_files.read_splits(self.path)

    @property
    def metrics(self) -> list[dict]:
        """Lines of metrics.jsonl: one per round and epoch, folds in order."""
        return read_metrics(self.path)

    @property
    def predictions(self) -> dict[str, np.ndarray]:
        """Columns round, fold, subject, scan_id, label and logits (rows, 6): one row per test scan and round.

        Raises:
            RunError: nothing has been predicted yet, or the file is damaged.
        """
        return read_predictions(self.path)

    def table(self):
        """The predictions as a pandas DataFrame: one row per test scan and round.

        Columns round, fold, subject, scan_id, expression, predicted (codes as in EXPRESSION_CODES), correct, and the
        probability of each expression (p_AN … p_SU).

        Raises:
            RunError: pandas is not installed, or nothing has been predicted yet.
        """
        try:
            import pandas
        except ImportError as error:
            raise RunError("run.table() needs pandas (pip install pandas); run.predictions has the same") from error
        predictions, codes = self.predictions, np.array(EXPRESSION_CODES)
        probabilities = scipy.special.softmax(predictions["logits"].astype(np.float64), axis=-1)
        guess = predictions["logits"].argmax(-1)
        return pandas.DataFrame(
            {
                "round": predictions["round"],
                "fold": predictions["fold"],
                "subject": predictions["subject"],
                "scan_id": predictions["scan_id"],
                "expression": codes[predictions["label"]],
                "predicted": codes[guess],
                "correct": guess == predictions["label"],
                **{f"p_{code}": probabilities[:, k] for k, code in enumerate(codes)},
            }
        )

    def params(self, round: int) -> dict[str, Any]:
        """Trained weights of a round: nested dicts of float32 arrays, the round's folds stacked on axis 0.

        Raises:
            RunError: weights of this round were not kept (config.train.keep_rounds), are damaged or not final yet.
        """
        return self.stacked_weights(round)[0]

    def batch_stats(self, round: int) -> dict[str, Any]:
        """Running means and variances of a round's folds, stacked likewise."""
        return self.stacked_weights(round)[1]

    def stacked_weights(self, round: int, folds: Sequence[int] | None = None) -> tuple[dict, dict]:
        """(params, batch_stats) of these folds of a round, stacked on axis 0; of all its folds by default.

        Raises:
            RunError: as `params`.
        """
        chosen = [self._fold_weights(round, fold) for fold in (self.folds(round) if folds is None else folds)]
        return tuple(jax.tree.map(lambda *leaves: np.stack(leaves), *part) for part in zip(*chosen, strict=True))

    def folds(self, round: int) -> list[int]:
        """Indices of a round's folds.

        Raises:
            RunError: there is no such round.
        """
        folds = [f.fold for f in self.splits if f.round == round]
        if not folds:
            raise RunError(f"{self.path}: has no round {round}; it has rounds 0 to {self.splits[-1].round}")
        return folds

    @functools.cached_property
    def network(self) -> Network:
        """The functions of the run's network."""
        check_gpu()
        return Network(self.config.model)

    def model(self, round: int = 0, fold: int = 0) -> Model:
        """Returns one trained network: `model(texture, depth, mask56, mask28) -> logits`.

        Raises:
            RunError: as `params`.
        """
        params, batch_stats = (jax.tree.map(jnp.asarray, part) for part in self._fold_weights(round, fold))
        return Model(self.network.model(params, batch_stats), self.config.model.mirror)

    def intermediates(self, maps: Maps, *, round: int = 0, fold: int = 0) -> dict[str, np.ndarray]:
        """Computes the intermediate values of one trained network for N scans.

        Returns:
            `importance/<trunk>/layer<s>_<b>` (N, 1, 1, C), the weights t_iw and d_iw of eq. 2, after block b of stage
            s; `gamma/<trunk>/layer<s>_<b>` and `beta/…` (N, h, w, C) of eq. 1; `features/<trunk>` and `logits`.
        """
        logits, seen = self._forward(*self._fold_weights(round, fold), maps)
        return jax.tree.map(np.asarray, {"logits": logits, **seen})

    @functools.cached_property
    def _forward(self):
        def forward(params, batch_stats, maps):
            return self.network.model(params, batch_stats)(maps, return_intermediates=True)

        return jax.jit(forward)

    @property
    def seen_before(self) -> tuple[str, ...]:
        """A line on each kind of test subjects whom the starting weights had seen, as training told them."""
        return tuple(self.environment.get("start_from", {}).get("seen_before", ()))

    def _fold_weights(self, round_: int, fold: int) -> tuple[dict, dict]:
        folds = self.folds(round_)
        if fold not in folds:
            raise RunError(f"{self.path}: round {round_} has no fold {fold}; it has folds {folds[0]} to {folds[-1]}")
        checkpoints = run_files.open_checkpoints(self.path) if self._checkpoints is None else self._checkpoints
        weights = checkpoints.weights((round_, fold))
        if weights is not None:
            self._checkpoints = checkpoints
            return weights["params"], weights["batch_stats"]
        if (round_, fold) in checkpoints.trainings():
            raise RunError(
                f"{self.path}: round {round_} fold {fold} is still being trained; wait for it, or run the same command "
                f"again to go on"
            )
        raise RunError(
            f"{self.path}: weights of round {round_} fold {fold} are not stored; finish the run, or train anew in a "
            f"--workdir of its own with --config.train.keep_rounds above {round_}"
        )

    def _json(self, name: str) -> dict:
        return run_files.read_run_file(self.path, name)


@dataclasses.dataclass(frozen=True)
class Model:
    """A trained network, called with a scan's maps one by one.

    Attributes:
        network: the same, called with `Maps`, on one side of a face alone.
        mirror: config.model.mirror, whether logits are the mean of a face's and of its mirror image's.
    """

    network: AFNet
    mirror: bool = False

    def __call__(self, texture, depth, mask56, mask28, *further):
        """Returns the logits of N scans, as the run's predictions have them.

        Args:
            texture: (N, S, S, 3) uint8 RGB.
            depth: (N, S, S, 1) float, mm in the canonical frame, NaN outside the face.
            mask56: (N, S/4, S/4, 1) float in [0, 1].
            mask28: (N, S/8, S/8, 1) float in [0, 1].
            further: the other maps that the network sees, in the order of `Maps`.
        """
        maps = Maps(texture, depth, mask56, mask28, *further)
        return (self.network(maps) + self.network(mirrored(maps))) / 2 if self.mirror else self.network(maps)
