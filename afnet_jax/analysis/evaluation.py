"""A finished run's networks on another prepared data set: N scans, F networks."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from afnet_jax.analysis.calibration import calibration, fit_temperature
from afnet_jax.analysis.countdown import Countdown
from afnet_jax.analysis.metrics import complete_rounds, score, why_incomplete
from afnet_jax.analysis.prediction import Predictor
from afnet_jax.analysis.run import Run
from afnet_jax.analysis.significance import CONFIDENCE, subject_bootstrap
from afnet_jax.datasets.colours import without_colours
from afnet_jax.datasets.loading import FaceDataset
from afnet_jax.errors import RunError
from afnet_jax.runs.start import identity, records_of

_SCANS_AT_ONCE = 64
_LEAST = np.finfo(np.float32).tiny  # of a probability, whose logarithm must be finite


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Holds what a run's networks say of the scans of another data set.

    Attributes:
        run: whose networks.
        database: name of the data set.
        round: of the networks.
        folds: of the networks.
        scan_ids, subjects, labels: (N,) of the scans that were tested.
        probabilities: (F, N, 6) of each network.
        asked: (F, N) bool, False where a network learned from the scan's subject and is not asked.
        seen: subjects whose ids the run was trained on, sorted; all that every network learned from are left out.
        left_out: those of `seen` who are not among the N scans.
        temperature: fitted on the run's own held-out predictions; None where none are left for it.
        namesakes: subjects who are taken for others than those of the same ids that the run was trained on.
    """

    run: Run
    database: str
    round: int
    folds: tuple[int, ...]
    scan_ids: np.ndarray
    subjects: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray
    asked: np.ndarray
    seen: tuple[str, ...]
    left_out: tuple[str, ...]
    temperature: float | None
    namesakes: tuple[str, ...] = ()

    def log_probabilities(self, temperature: float = 1.0) -> np.ndarray:
        """(N, 6) logarithms of the mean, over the networks that are asked, of their probabilities.

        Args:
            temperature: that each network's logits are divided by.
        """
        scaled = np.maximum(self.probabilities.astype(np.float64), _LEAST) ** (1 / temperature)
        scaled /= scaled.sum(-1, keepdims=True)
        return np.log((scaled * self.asked[..., None]).sum(0) / self.asked.sum(0)[:, None])


def evaluate_on(
    run: Run, data: FaceDataset, settings: ConfigDict, *, round: int = 0, people: str = "auto"
) -> Evaluation:
    """Asks the networks of one round of a finished run about all scans of a data set.

    A network is never asked about a subject whom it learned from: a subject of the run's own data set is tested by the
    networks of the folds that left them out, and not at all where there is none.

    Args:
        run: the run.
        data: the data set, at the run's image size.
        settings: config.dataset that it was loaded by.
        round: whose networks.
        people: whether an id that both the run and the data set have is of one and the same person: "same", "other",
            or "auto", the same in data sets of one name and, of synthetic subjects, of one draw.

    Raises:
        RunError: the run or its round is not finished, maps of another size, scans without colours for networks that
            see them, or no subject whom a network did not learn from.
    """
    _check(run, data, round)
    database = settings.name
    folds = [fold for fold in run.splits if fold.round == round]
    same_people = _are_same_people(run, data, settings, people)
    before = _learned_before(run, settings, people)
    trained = [before | set(fold.train if same_people else ()) for fold in folds]
    asked = np.array([[subject not in learned for subject in data.subjects.tolist()] for learned in trained])
    tested = asked.any(0)
    seen = sorted(set(data.subjects.tolist()) & set().union(*trained))
    if not tested.any():
        raise RunError(
            f"{run.path}: every subject of {database} has an id that all of the run's networks learned from "
            f"({_named(seen)}); test other people, or give --people=other where only the ids are the same"
        )
    predictor, probabilities = Predictor(run, round=round), []
    scans = np.flatnonzero(tested)
    countdown = Countdown(f"{database} by {run.path.resolve().name}, scans", len(scans))
    for start in range(0, len(scans), _SCANS_AT_ONCE):
        chosen = scans[start : start + _SCANS_AT_ONCE]
        maps = jax.tree.map(lambda column, chosen=chosen: column[chosen], data.maps)
        probabilities.append(predictor.of_each(maps))
        countdown.add(len(chosen))
    subjects = data.subjects[tested]
    return Evaluation(
        run=run,
        database=database,
        round=round,
        folds=tuple(fold.fold for fold in folds),
        scan_ids=data.scan_ids[tested],
        subjects=subjects,
        labels=data.labels[tested],
        probabilities=np.concatenate(probabilities, axis=1),
        asked=asked[:, tested],
        seen=tuple(seen),
        left_out=tuple(subject for subject in seen if subject not in set(subjects.tolist())),
        temperature=_temperature(run, round, set(subjects.tolist()) if same_people else set()),
        namesakes=() if same_people else _namesakes(run, data),
    )


def _are_same_people(run: Run, data: FaceDataset, settings: ConfigDict, people: str) -> bool:
    """Whether an id that both the run and a data set have is of one and the same person, see `evaluate_on`.

    Raises:
        RunError: `people` says that they are others, of the very scans that the run learned from.
    """
    if people == "same" or (people == "auto" and identity(settings) == identity(run.config.dataset)):
        return True
    if not _namesakes(run, data) or data.digest != run.environment.get("data_sha256"):
        return False
    if people == "other":  # under whatever name
        raise RunError(
            f"{run.path}: {settings.name} holds the very scans that the run learned from; leave out --people"
        )
    return True


def _learned_before(run: Run, settings: ConfigDict, people: str) -> set[str]:
    """Subjects of a data set that the weights learned from which all networks of a run started, as far as they tell."""
    learned: set[str] = set()
    for record in records_of(run.environment.get("start_from", {}).get("record") or {}):
        if people == "same" or (people == "auto" and record.get("dataset") == identity(settings)):
            learned |= set(record.get("train", ()))
    return learned


def _namesakes(run: Run, data: FaceDataset) -> tuple[str, ...]:
    return tuple(sorted(set(data.subjects.tolist()) & {subject for fold in run.splits for subject in fold.train}))


def _named(subjects: Sequence[str]) -> str:
    return ", ".join(subjects[:5]) + (f" and {len(subjects) - 5} more" if len(subjects) > 5 else "")


def _check(run: Run, data: FaceDataset, round_: int) -> None:
    """Raises RunError where a run has no finished networks for these maps."""
    if round_ not in complete_rounds(run.predictions, run.splits):
        run.folds(round_)  # which says so where there is no such round
        folds = [fold for fold in run.splits if fold.round == round_]
        raise RunError(f"{run.path}: round {round_} is not finished: {why_incomplete(run.predictions, folds)}")
    size, found = run.config.dataset.image_size, data.maps.texture.shape[1:3]
    if found != (size, size):
        raise RunError(
            f"{run.path}: its networks take images of {size} x {size} pixels, found {found[0]} x {found[1]}; load the "
            f"data set with image_size={size}"
        )
    if "texture" in run.config.model.modalities and len(grey := without_colours(data)):
        raise RunError(
            f"{run.path}: {len(grey)} scans have no colours, the first {grey[0]}, and this run's networks see the "
            f"texture; use a run of the variant depth"
        )


def _temperature(run: Run, round_: int, tested: set[str]) -> float | None:
    """The temperature fitted on what the round's networks say of their own test subjects, but those tested here."""
    rows = run.predictions
    chosen = (rows["round"] == round_) & ~np.isin(rows["subject"], sorted(tested))
    return fit_temperature(rows["logits"][chosen], rows["label"][chosen]) if chosen.any() else None


def scores(evaluation: Evaluation) -> dict[str, Any]:
    """The content of evaluation.json.

    Returns:
        "run", "variant", "trained_on", "tested_on", "round", "networks", "scans", "subjects"; "accuracy" of the mean
        of the networks' probabilities: {"mean", "interval" by a bootstrap over subjects, "confidence", "per_network"};
        "confusion" and "per_class" as in summary.json; "per_subject": id -> {"accuracy", "scans"}; "calibration" as
        in summary.json with the one "temperature"; "seen_subjects" and "left_out_subjects".
    """
    of_mean = evaluation.log_probabilities()
    subjects, labels = evaluation.subjects, evaluation.labels
    right = of_mean.argmax(-1) == labels
    zeros = np.zeros(len(labels), int)
    scored = score({"round": zeros, "fold": zeros, "label": labels, "logits": of_mean}, [0])
    interval, _ = subject_bootstrap(right.astype(float), subjects)
    guesses = evaluation.probabilities.argmax(-1)
    return {
        "run": str(evaluation.run.path),
        "variant": evaluation.run.config.variant,
        "trained_on": evaluation.run.config.dataset.name,
        "tested_on": evaluation.database,
        "round": evaluation.round,
        "networks": len(evaluation.folds),
        "scans": len(labels),
        "subjects": len(np.unique(subjects)),
        "accuracy": {
            "mean": float(right.mean()),
            "interval": list(interval) if np.isfinite(interval).all() else None,
            "confidence": CONFIDENCE,
            "per_network": [
                float((guess == labels)[asked].mean()) if asked.any() else None
                for guess, asked in zip(guesses, evaluation.asked, strict=True)
            ],
        },
        "confusion": scored["confusion"],
        "per_class": scored["per_class"],
        "per_subject": {
            str(s): {"accuracy": float(right[subjects == s].mean()), "scans": int((subjects == s).sum())}
            for s in np.unique(subjects)
        },
        "calibration": {
            **calibration(of_mean, labels, evaluation.scan_ids),
            "temperature": evaluation.temperature,
            "scaled": evaluation.temperature
            and calibration(evaluation.log_probabilities(evaluation.temperature), labels, evaluation.scan_ids),
        },
        "seen_subjects": list(evaluation.seen),
        "left_out_subjects": list(evaluation.left_out),
    }


def remarks(evaluation: Evaluation) -> list[str]:
    """Returns what a reader of the numbers must know of the subjects, a line each."""
    seen, left_out = evaluation.seen, evaluation.left_out
    told = []
    start = evaluation.run.environment.get("start_from")
    if start and not all(record.get("dataset") for record in records_of(start.get("record") or {})):
        told.append(
            f"the run started from {start['source']}, which does not tell whom it was trained on: make sure that none "
            "of them is tested here"
        )
    if tested := [subject for subject in seen if subject not in left_out]:
        told.append(
            f"{len(tested)} subjects have ids that the run was trained on ({_named(tested)}): each is tested by the "
            "networks alone that did not learn from them"
        )
    if evaluation.namesakes:
        told.append(
            f"{len(evaluation.namesakes)} ids are also those of subjects that the run was trained on, in another data "
            f"set ({_named(evaluation.namesakes)}): taken for other people; give --people=same if they are not"
        )
    if left_out:
        told.append(
            f"{len(left_out)} subjects are left out, for all of the run's networks learned from these ids: "
            f"{_named(left_out)}"
        )
    return told
