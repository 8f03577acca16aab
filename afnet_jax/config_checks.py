"""Checks the settings of a run: each is compared with what it may be, for `config.validate` to refuse."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from afnet_jax.scans.databases import DATABASES, is_database_name

INPUTS = ("maps", "points")
MATMUL_PRECISIONS = ("default", "bfloat16", "tensorfloat32", "float32")


class Check(NamedTuple):
    """One setting: its field, the value found, whether it is good, and what was expected."""

    field: str
    found: Any
    good: bool
    expected: str


def checks_of(config: ConfigDict) -> Iterator[Check]:
    """Yields a check for each setting whose type alone does not say whether it is good, but for the architecture's."""
    yield from _data_checks(config.dataset)
    yield from _protocol_checks(config.protocol)
    yield from _model_checks(config.model)
    yield from _optimization_checks(config.train)
    yield from _map_augmentation_checks(config.train, config.dataset.image_size)
    yield from _point_augmentation_checks(config.train.augment, config.dataset.input)
    yield from _execution_checks(config.train)
    yield from _processes_checks(config.distributed)
    # JAX's keys are of 32 bits: a larger seed would repeat the run of a smaller one.
    yield Check("seed", config.seed, 0 <= config.seed < 2**32, "a whole number from 0 to 4294967295")


def _one_of(field: str, found: Any, choices: tuple[str, ...]) -> Check:
    *others, last = choices
    return Check(field, found, found in choices, f"{', '.join(others)} or {last}")


def _at_least(field: str, found: Any, least: int) -> Check:
    return Check(field, found, found >= least, f"{least} or more")


def _positive(field: str, found: Any) -> Check:
    return Check(field, found, found > 0, "a positive whole number")


def _share(field: str, found: Any, whole: bool = False) -> Check:
    good = 0 <= found < 1 or (whole and found == 1)
    return Check(field, found, good, "a share from 0 to 1" if whole else "a share from 0 to below 1")


def _data_checks(data: ConfigDict) -> Iterator[Check]:
    names = f"one of {', '.join(DATABASES)}, or the name of your own scans: small letters, digits and _"
    yield Check("dataset.name", data.name, is_database_name(data.name), names)
    size = data.image_size
    yield Check("dataset.image_size", size, 32 <= size <= 224 and size % 32 == 0, "a multiple of 32, from 32 to 224")
    yield _one_of("dataset.input", data.input, INPUTS)
    yield _one_of("dataset.placement", data.placement, ("auto", "memory", "stream"))
    yield _one_of("dataset.synthetic_variety", data.synthetic_variety, ("default", "wide"))
    if data.input == "points":
        held = "'auto' or 'memory' where config.dataset.input is 'points', which are held whole"
        yield Check("dataset.placement", data.placement, data.placement != "stream", held)
        drawn = "'default' where config.dataset.input is 'points': wide subjects are drawn as maps alone"
        yield Check("dataset.synthetic_variety", data.synthetic_variety, data.synthetic_variety == "default", drawn)
    good = len(data.levels) > 0 and all(isinstance(level, int) and level > 0 for level in data.levels)
    yield Check("dataset.levels", data.levels, good, "whole numbers of at least 1, such as 3,4")
    yield _at_least("dataset.synthetic_subjects", data.synthetic_subjects, 1)
    yield _at_least("dataset.synthetic_seed", data.synthetic_seed, 0)


def _protocol_checks(protocol: ConfigDict) -> Iterator[Check]:
    for name, least in (("subjects", 0), ("folds", 2), ("rounds", 1), ("folds_run", 0), ("seed", 0)):
        yield _at_least(f"protocol.{name}", protocol[name], least)


def _model_checks(model: ConfigDict) -> Iterator[Check]:
    yield _one_of("model.dtype", model.dtype, ("float32", "bfloat16"))
    yield _one_of("model.matmul_precision", model.matmul_precision, MATMUL_PRECISIONS)


def _optimization_checks(train: ConfigDict) -> Iterator[Check]:
    for name in ("epochs", "batch_size"):
        yield _positive(f"train.{name}", train[name])
    rate = train.learning_rate
    yield Check("train.learning_rate", rate, 0 < rate < math.inf, "a positive number")
    yield _one_of("train.learning_rate_decay", train.learning_rate_decay, ("none", "cosine"))
    for name in ("beta1", "beta2", "warmup", "weight_decay", "label_smoothing", "averaging"):
        yield _share(f"train.{name}", train[name])
    yield _share("train.trunk_rate", train.trunk_rate, whole=True)


def _map_augmentation_checks(train: ConfigDict, size: int) -> Iterator[Check]:
    for name, good, expected in (
        ("max_shift", 0 <= train.max_shift < size // 2, "0 or more, below half the image"),
        ("max_turn", 0 <= train.max_turn <= 180, "degrees from 0 to 180"),
        ("gamma", 0 <= train.gamma <= 2, "a power of e from 0 to 2"),
        ("move_masks", 0 <= train.move_masks <= size / 8, "pixels from 0 to an eighth of the image"),
        ("blur", 0 <= train.blur <= size / 8, "pixels from 0 to an eighth of the image"),
        ("noise_mm", 0 <= train.noise_mm < 50, "mm from 0 to below 50"),
    ):
        yield Check(f"train.{name}", train[name], good, expected)
    for name in ("colour_jitter", "max_zoom", "tint", "noise"):
        yield _share(f"train.{name}", train[name])
    for name in ("grey", "erase", "swap_masks"):
        yield _share(f"train.{name}", train[name], whole=True)


def _point_augmentation_checks(augment: ConfigDict, source: str) -> Iterator[Check]:
    limits = {"yaw": 90, "pitch": 90, "roll": 180, "scale": 0.5, "light": 1, "colour": 1}
    from_maps = (
        "0 where config.dataset.input is 'maps': only points can be changed in 3D (--config.dataset.input=points)"
    )
    for name, value in augment.items():
        field, most = f"train.augment.{name}", limits.get(name, 100)
        yield Check(field, value, 0 <= value <= most, f"a number from 0 to {most}")
        if name != "hole_mm":  # which changes nothing where there are no holes
            yield Check(field, value, source == "points" or not value, from_maps)


def _execution_checks(train: ConfigDict) -> Iterator[Check]:
    for name in ("folds_per_group", "folds_per_call", "steps_per_dispatch"):
        value = train[name]
        good = value == "auto" or (value.isdecimal() and int(value) > 0)
        yield Check(f"train.{name}", value, good, '"auto" or a positive number')
    minutes = train.checkpoint_minutes
    yield Check("train.checkpoint_minutes", minutes, 0 < minutes < math.inf, "a positive number of minutes")
    yield _positive("train.evaluate_every", train.evaluate_every)
    yield Check("train.keep_rounds", train.keep_rounds, train.keep_rounds >= -1, "-1 (all), 0 or more")


def _processes_checks(distributed: ConfigDict) -> Iterator[Check]:
    if distributed.coordinator not in ("", "auto"):
        good = 0 <= distributed.process < distributed.processes
        expected = f"0 or more, below distributed.processes={distributed.processes}"
        yield Check("distributed.process", distributed.process, good, expected)
