"""Opens what config.model.start_from names, a run's network or a file of weights, and tells who was seen before."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from afnet_jax.config import default_config
from afnet_jax.errors import RunError, WeightsError
from afnet_jax.models.starting_weights import SUFFIX, StartingWeights, load_weights, weights_of
from afnet_jax.paths import user_path
from afnet_jax.protocol import Fold
from afnet_jax.runs.folder import is_run_folder, open_checkpoints, read_run_file, read_splits

_SOURCE = re.compile(r"(?P<path>.+?)(?::(?P<round>\d+))?(?::(?P<fold>\d+))?")


class StartPlace(NamedTuple):
    """Names where starting weights lie.

    Attributes:
        path: a file of weights, or a run's folder.
        training: round and fold of the run's training; None where the path is a file.
    """

    path: Path
    training: tuple[int, int] | None


def locate_start(source: str) -> StartPlace | None:
    """Finds what config.model.start_from names, without loading it.

    Args:
        source: "" for nothing; RUN[:round[:fold]], of round 0 and fold 0 by default; or a file of `save_weights`.

    Returns:
        The place, or None where the source names nothing.

    Raises:
        WeightsError: there is no such folder or file.
    """
    if not source:
        return None
    whole = user_path(source)
    if whole.is_dir():  # also one whose name ends like a round
        return StartPlace(whole, (0, 0))
    if whole.suffix.lower() == SUFFIX and whole.is_file():
        return StartPlace(whole, None)
    match = _SOURCE.fullmatch(source)
    assert match is not None  # it matches any text
    path = user_path(match["path"])
    if not path.is_dir():
        found = "a file that is none of these" if path.is_file() else "nothing there"
        raise WeightsError(
            f"config.model.start_from={source}: expected a finished run's folder, RUN[:round[:fold]], or a {SUFFIX} "
            f"file; found {found}"
        )
    return StartPlace(path, (int(match["round"] or 0), int(match["fold"] or 0)))


def load_start(source: str) -> StartingWeights | None:
    """Loads what config.model.start_from names.

    Args:
        source: see `locate_start`.

    Raises:
        WeightsError, RunError: no such run or file, a damaged one, or weights that were not kept.
    """
    place = locate_start(source)
    if place is None:
        return None
    return load_from_run(place.path, *place.training) if place.training else load_weights(place.path)


def load_from_run(path: Path, round_: int, fold: int) -> StartingWeights:
    """Loads one network of a finished run, of any variant.

    Raises:
        RunError: no run, no such training, or weights that were not kept or are damaged.
    """
    if not is_run_folder(path):
        raise RunError(f"{path}: no run here (no config.json); give the folder that a run had as --workdir")
    splits = read_splits(path)
    of_training = next((each for each in splits if (each.round, each.fold) == (round_, fold)), None)
    if of_training is None:
        raise RunError(f"{path}: has no round {round_} fold {fold} to start from; it has {len(splits)} trainings")
    weights = open_checkpoints(path).weights((round_, fold))
    if weights is None:
        raise RunError(
            f"{path}: weights of round {round_} fold {fold} are not stored; finish that run, or train it anew in "
            f"a --workdir of its own with --config.train.keep_rounds above {round_}"
        )
    config = default_config().to_dict() | read_run_file(path, "config")
    record = {"dataset": identity(config["dataset"]), "train": of_training.train, "test": of_training.test}
    if start := read_run_file(path, "environment").get("start_from"):
        record["earlier"] = start.get("record") or {}
    source = f"{path}, round {round_}, fold {fold}"
    return weights_of(weights["params"], weights["batch_stats"], source, record)


def records_of(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Returns the record of weights, then of those that they started from, and so on; {} where none was written."""
    return [record, *(records_of(record["earlier"]) if "earlier" in record else ())]


def identity(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what tells whose subject ids these are: the database, and of synthetic subjects who was drawn."""
    names = ("name", "synthetic_seed", "synthetic_variety") if dataset["name"] == "synthetic" else ("name",)
    return {name: dataset.get(name, "default") for name in names}


def seen_before(weights: StartingWeights, dataset: Mapping[str, Any], folds: Sequence[Fold]) -> list[str]:
    """Returns a line for each way in which a run on these folds meets people of the run that the weights are from.

    Args:
        weights: what is started from.
        dataset: config.dataset of the new run.
        folds: of the new run.
    """
    records = records_of(weights.record)
    told = []
    if not all(record.get("dataset") for record in records):
        told.append(
            f"{weights.source} does not tell whom it was trained on: make sure that none of them is tested here"
        )
    ours = [record for record in records if record.get("dataset") == identity(dataset)]
    learned, tested = ({subject for record in ours for subject in record[part]} for part in ("train", "test"))
    if leak := learned & {subject for fold in folds for subject in fold.test}:
        told.append(
            f"LEAK: the starting weights were trained on {_named(leak)}, who are tested here: their accuracy says "
            f"nothing about new people"
        )
    if again := tested & {subject for fold in folds for subject in fold.train + fold.test}:
        told.append(
            f"the run of the starting weights was tested on {_named(again)}, who stand in this run's data: choose "
            f"nothing by that test and report it here"
        )
    return told


def _named(subjects: set[str]) -> str:
    shown = ", ".join(sorted(subjects)[:8])
    return f"{len(subjects)} subjects ({shown}{', …' if len(subjects) > 8 else ''})"
