"""The evaluation protocol (section III-A): subjects are chosen, then parted into folds, round after round.

Pure functions of subject ids and seeds. No subject is ever in the training and the test part of one fold.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from afnet_jax.errors import ConfigError
from afnet_jax.paths import user_path
from afnet_jax.scans.scan import EXPRESSIONS

# Streams of random numbers that must not depend on one another.
_SELECTION, _PARTITION = 0, 1


@dataclasses.dataclass(frozen=True)
class Fold:
    """One training of the protocol: who it learns from and who it is tested on.

    Attributes:
        round: index of the partition it belongs to.
        fold: index within the round.
        train: subject ids, sorted.
        test: subject ids, sorted; none of them in train.
    """

    round: int
    fold: int
    train: tuple[str, ...]
    test: tuple[str, ...]


def complete_subjects(subjects: Iterable[str], labels: Iterable[int]) -> tuple[str, ...]:
    """Ids of those who show every expression (63 of 105 in Bosphorus), sorted.

    Args:
        subjects: subject id of each scan.
        labels: label of each scan.
    """
    distinct = Counter(subject for subject, _ in set(zip(subjects, labels, strict=True)))
    return tuple(sorted(subject for subject, count in distinct.items() if count == len(EXPRESSIONS)))


def folds_of(settings: ConfigDict, subjects: Iterable[str], labels: Iterable[int]) -> tuple[Fold, ...]:
    """All trainings that the settings ask for, drawn or read from a file.

    Args:
        settings: config.protocol.
        subjects: subject id of each scan.
        labels: label of each scan.

    Raises:
        ConfigError: see `draw_folds` and `read_splits`.
    """
    if settings.splits:
        folds = read_splits(settings.splits)
    else:
        folds = draw_folds(
            complete_subjects(subjects, labels),
            chosen=settings.subjects,
            folds=settings.folds,
            rounds=settings.rounds,
            seed=settings.seed,
            fixed_subjects=settings.fixed_subjects,
        )
    return tuple(fold for fold in folds if not settings.folds_run or fold.fold < settings.folds_run)


def draw_folds(
    subjects: Sequence[str], *, chosen: int, folds: int, rounds: int, seed: int, fixed_subjects: bool = True
) -> tuple[Fold, ...]:
    """All trainings of the protocol, round by round.

    Args:
        subjects: ids of all complete subjects; their order does not matter.
        chosen: how many of them take part (60 in the paper); 0 for all.
        folds: parts of a round (10), whose sizes differ by at most one subject.
        rounds: how often the partition is drawn anew (100).
        seed: of all draws.
        fixed_subjects: choose the subjects once (the paper's way) rather than anew in each round.

    Returns:
        rounds * folds trainings.

    Raises:
        ConfigError: fewer subjects than asked for, or than folds.
    """
    subjects = sorted(set(subjects))
    if not subjects:
        raise ConfigError(
            "the data set holds no subject with all six expressions, of whom folds are made; prepare more"
        )
    chosen = chosen or len(subjects)
    if len(subjects) < chosen:
        raise ConfigError(
            f"protocol.subjects={chosen}: the data set holds only {len(subjects)} subjects with all expressions; "
            f"prepare more of the database, or set --config.protocol.subjects={len(subjects)} (0 takes all)"
        )
    if folds < 2 or rounds < 1:
        raise ConfigError(f"protocol: expected at least 2 folds and 1 round, found {folds} and {rounds}")
    if chosen < 2:
        raise ConfigError(
            f"protocol.subjects={chosen}: one subject cannot be trained on and tested; take two or more (0 takes all), "
            f"or prepare more"
        )
    if chosen < folds:
        raise ConfigError(
            f"protocol.folds={folds}: needs at least as many subjects, found {chosen}; "
            f"set --config.protocol.folds={chosen} or fewer, or prepare more subjects"
        )
    return tuple(
        fold
        for round_ in range(rounds)
        for fold in _partition(_select(subjects, chosen, seed, 0 if fixed_subjects else round_), folds, seed, round_)
    )


def _select(subjects: Sequence[str], chosen: int, seed: int, draw: int) -> list[str]:
    order = np.random.default_rng([seed, _SELECTION, draw]).permutation(len(subjects))
    return sorted(subjects[i] for i in order[:chosen])


def _partition(subjects: Sequence[str], folds: int, seed: int, round_: int) -> list[Fold]:
    order = np.random.default_rng([seed, _PARTITION, round_]).permutation(len(subjects))
    parts = [sorted(subjects[i] for i in part) for part in np.array_split(order, folds)]
    return [
        Fold(round_, k, tuple(s for s in subjects if s not in set(test)), tuple(test)) for k, test in enumerate(parts)
    ]


def to_json(folds: Sequence[Fold]) -> str:
    """Text of splits.json: {"rounds": [[{"train": [ids], "test": [ids]}, one per fold], one per round]}."""
    rounds: dict[int, list] = {}
    for fold in folds:
        rounds.setdefault(fold.round, []).append({"train": fold.train, "test": fold.test})
    return json.dumps({"rounds": list(rounds.values())}, indent=1)


def read_splits(path: str | Path, *, setting: str = "protocol.splits=") -> tuple[Fold, ...]:
    """Trainings from a splits.json, one's own or another run's.

    A round may leave subjects out: of its tests (repeated hold-out), of a fold's training, or of both.

    Args:
        path: the file.
        setting: what a fault puts before the path.

    Raises:
        ConfigError: no such file, not of that form, a subject trained and tested on in one fold, or named twice in a
            fold, or tested twice in a round.
    """
    expected = 'expected {"rounds": [[{"train": [subject ids], "test": [subject ids]}, …], …]}'
    try:
        rounds = json.loads(user_path(path).read_text(encoding="utf-8"))["rounds"]
        folds = tuple(
            Fold(r, k, _subjects(fold["train"]), _subjects(fold["test"]))
            for r, round_ in enumerate(rounds)
            for k, fold in enumerate(round_)
        )
    except OSError as error:
        raise ConfigError(f"{setting}{path}: cannot be read ({error.strerror}); {expected}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{setting}{path}: {expected}, found otherwise ({error})") from error
    if not folds:
        raise ConfigError(f"{setting}{path}: {expected}, found no fold")
    if empty := set(range(len(rounds))) - {fold.round for fold in folds}:
        raise ConfigError(f"{setting}{path}: round {min(empty)} has no fold; {expected}")
    try:
        _check(folds)
    except ValueError as error:
        raise ConfigError(f"{setting}{path}: {error}") from None
    return folds


def _subjects(ids: Any) -> tuple[str, ...]:
    if not isinstance(ids, list):
        raise TypeError(f"{ids!r} is no list of subject ids")
    return tuple(sorted(map(str, ids)))


def _check(folds: Sequence[Fold]) -> None:
    """Raises ValueError where a fold is empty, leaks, or a subject is named or tested twice."""
    tested: dict[tuple[int, str], int] = {}
    for fold in folds:
        where = f"round {fold.round} fold {fold.fold}"
        if not fold.train or not fold.test:
            raise ValueError(f"{where} has no subject to train or to test on; name at least one of each")
        if both := set(fold.train) & set(fold.test):
            raise ValueError(f"{where} trains and tests on {_named(both)}; a subject may be in one only")
        for part, ids in (("train", fold.train), ("test", fold.test)):
            if twice := {subject for subject, count in Counter(ids).items() if count > 1}:
                raise ValueError(f'{where} names {_named(twice)} twice in "{part}"; name each subject once')
        for subject in fold.test:
            before = tested.setdefault((fold.round, subject), fold.fold)
            if before != fold.fold:
                raise ValueError(
                    f"round {fold.round} tests {subject} in fold {before} and in fold {fold.fold}; test a subject once "
                    f"a round, and repetitions in rounds of their own"
                )


def _named(subjects: Iterable[str]) -> str:
    return ", ".join(sorted(subjects))
