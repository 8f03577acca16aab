"""Every setting of a run, with its default and its meaning."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from afnet_jax.errors import ConfigError
from afnet_jax.models.architecture import VARIANTS, Architecture, architecture_of
from afnet_jax.scans.databases import DATABASES, is_database_name

# Fields of earlier versions -> what took their place.
RENAMED = {"train.checkpoint_every": "train.checkpoint_minutes"}
MATMUL_PRECISIONS = ("default", "bfloat16", "tensorfloat32", "float32")


def default_config(variant: str = "afnet") -> ConfigDict:
    """The paper's settings for one variant of the network, to be changed by a file in configs/ and then locked.

    Args:
        variant: a name of `VARIANTS`: what stands after the colon of `--config=configs/synthetic.py:variant`.

    Raises:
        ConfigError: an unknown variant.
    """
    if variant not in VARIANTS:
        raise ConfigError(f"variant {variant!r} is unknown; expected one of {', '.join(VARIANTS)}")
    config = ConfigDict()
    config.variant = variant
    # Of weights, data order and augmentation; the protocol draws from a seed of its own.
    config.seed = 0

    config.dataset = ConfigDict()
    # One of afnet_jax/scans/databases.py, or the name that scans of your own were prepared under (docs/own_data.md).
    config.dataset.name = "synthetic"
    # Folder that `afnet prepare` wrote to.
    config.dataset.data_dir = "data"
    # Edge of the images at the network's door, in pixels: 224 as in the paper, or another multiple of 32 below it.
    config.dataset.image_size = 224
    # Intensities that take part, of those that the data set holds; scans without a level always do.
    config.dataset.levels = (3, 4)
    # Where the maps lie while a network learns: "memory" and, whole, on each device; "stream": in files beside the data
    # set, from which each step's scans are read ahead; or "auto": streamed where they would take more than half of the
    # device's memory or a quarter of the machine's. Streamed or not, the same bits come out.
    config.dataset.placement = "auto"
    # How many synthetic subjects are made and prepared on first use, where name is "synthetic".
    config.dataset.synthetic_subjects = 30
    # Which subjects: the seed that they are drawn from.
    config.dataset.synthetic_seed = 0

    config.protocol = ConfigDict()
    # Subjects chosen at random among those with all six expressions; 0 for all.
    config.protocol.subjects = 60
    # Choose the subjects once, as the paper does, or anew in each round.
    config.protocol.fixed_subjects = True
    # Subject-disjoint folds of a round; each is tested once.
    config.protocol.folds = 10
    # Rounds of cross-validation, each with folds of its own.
    config.protocol.rounds = 100
    # Which subjects are chosen, and who is in which fold.
    config.protocol.seed = 0
    # A splits.json of one's own, or of another run, instead of the draw.
    config.protocol.splits = ""

    # What the network is made of: fields and defaults stand in afnet_jax/models/architecture.py.
    config.model = _architecture_fields(VARIANTS[variant])
    # "none", "imagenet" (downloaded once), or a file or folder of ResNet18 weights (`afnet port-imagenet`).
    config.model.pretrained = "none"
    # Of the computation: "float32", or "bfloat16" for speed on a GPU; parameters, statistics and loss stay float32.
    config.model.dtype = "float32"
    # Of products of float32 numbers on a GPU: "default", which is TF32 there (10 bits of mantissa, several times the
    # speed), as "tensorfloat32" is; "float32" for all 23 bits; or "bfloat16". A CPU computes float32 in any case.
    config.model.matmul_precision = "default"

    config.train = ConfigDict()
    # Passes over the training folds.
    config.train.epochs = 70
    # Scans of a batch, not given in the paper. An epoch is floor(scans / batch_size) full batches of a fresh
    # permutation.
    config.train.batch_size = 32
    # Rate of Adam, fixed in the paper (section III-B).
    config.train.learning_rate = 1e-4
    # "none" as in the paper, or "cosine": down to 0 over all epochs.
    config.train.learning_rate_decay = "none"
    # Of Adam, decay of the first moment.
    config.train.beta1 = 0.9
    # Of Adam, decay of the second moment.
    config.train.beta2 = 0.999
    # Augmentation, off as in the paper: faces are mirrored half of the time.
    config.train.flip = False
    # Augmentation: shifted by up to so many pixels each way.
    config.train.max_shift = 0
    # Augmentation: brightness and contrast changed by up to this share, from 0 to below 1.
    config.train.colour_jitter = 0.0
    # Trainings that run side by side: a number, or "auto" for as many as fit the device's memory, up to 20 a device.
    config.train.folds_per_group = "auto"
    # How many trainings one call of the compiled program takes: a number, or "auto" (1 per CPU device, all elsewhere).
    config.train.folds_per_call = "auto"
    # Steps per call of the compiled program: a number, or "auto" (1 on a CPU, a whole epoch elsewhere).
    config.train.steps_per_dispatch = "auto"
    # Minutes of training that a kill may cost: trainings under way are saved so often (docs/reliability.md).
    config.train.checkpoint_minutes = 10.0
    # Epochs between evaluations on the test folds, for the curves alone; the last epoch always counts.
    config.train.evaluate_every = 1
    # Rounds whose trained weights are kept, from the first on; -1 for all (89 MiB a training). Predictions always are.
    config.train.keep_rounds = 1

    config.distributed = ConfigDict()
    # Several processes as one run, each with its own devices, all with the same --workdir: "" for a single process,
    # "auto" where SLURM, Open MPI or Kubernetes tell JAX of the others, else HOST:PORT of the first.
    config.distributed.coordinator = ""
    # How many processes, where coordinator is HOST:PORT.
    config.distributed.processes = 0
    # Which of them this one is, from 0, where coordinator is HOST:PORT.
    config.distributed.process = -1

    # Folder to write a jax.profiler trace to, of the first group's second epoch; "" for none.
    config.profile = ""
    # Folder of compiled programs that later runs on the same kind of machine start from; "" for none.
    config.compilation_cache = ""
    return config.lock()


def database_config(name: str, variant: str = "afnet") -> ConfigDict:
    """Returns the settings for one of the databases: the defaults, changed as its entry in DATABASES says.

    Raises:
        ConfigError: an unknown database or variant.
    """
    if name not in DATABASES:
        raise ConfigError(f"database {name!r} is unknown; expected one of {', '.join(DATABASES)}")
    config = default_config(variant)
    config.dataset.name = name
    config.update_from_flattened_dict(DATABASES[name].settings)
    return config


def _architecture_fields(architecture: Architecture) -> ConfigDict:
    fields = ConfigDict(dataclasses.asdict(architecture))
    if fields.mask_hidden_width is None:
        fields.mask_hidden_width = placeholder(int)
    return fields


def without_retired_fields(stored: dict[str, Any]) -> dict[str, Any]:
    """Returns a stored config without fields of earlier versions that changed nothing of what came out.

    These are the renamed ones, which say when checkpoints are written, and model.num_classes with its only value, 6.
    """
    kept = {section: dict(value) if isinstance(value, dict) else value for section, value in stored.items()}
    for section, field in (name.split(".") for name in RENAMED):
        kept.get(section, {}).pop(field, None)
    if kept["model"].get("num_classes") == 6:
        del kept["model"]["num_classes"]
    return kept


def validate(config: ConfigDict) -> None:
    """Refuses what cannot be run, before anything is computed.

    Raises:
        ConfigError: names the field, what was expected and what was found.
    """
    architecture_of(config.model)
    size, train = config.dataset.image_size, config.train
    name = config.dataset.name
    checks = [
        (
            "dataset.name",
            name,
            is_database_name(name),
            f"one of {', '.join(DATABASES)}, or the name of your own scans: small letters, digits and _",
        ),
        ("dataset.image_size", size, 32 <= size <= 224 and size % 32 == 0, "a multiple of 32, from 32 to 224"),
        (
            "dataset.placement",
            config.dataset.placement,
            config.dataset.placement in ("auto", "memory", "stream"),
            "auto, memory or stream",
        ),
        ("model.dtype", config.model.dtype, config.model.dtype in ("float32", "bfloat16"), "float32 or bfloat16"),
        (
            "model.matmul_precision",
            config.model.matmul_precision,
            config.model.matmul_precision in MATMUL_PRECISIONS,
            f"one of {', '.join(MATMUL_PRECISIONS)}",
        ),
        ("train.max_shift", train.max_shift, 0 <= train.max_shift < size // 2, "0 or more, below half the image"),
        ("train.colour_jitter", train.colour_jitter, 0 <= train.colour_jitter < 1, "a share from 0 to below 1"),
        ("train.learning_rate", train.learning_rate, 0 < train.learning_rate < math.inf, "a positive number"),
        (
            "train.learning_rate_decay",
            train.learning_rate_decay,
            train.learning_rate_decay in ("none", "cosine"),
            "none or cosine",
        ),
        (
            "distributed.process",
            config.distributed.process,
            config.distributed.coordinator in ("", "auto")
            or 0 <= config.distributed.process < config.distributed.processes,
            f"0 or more, below distributed.processes={config.distributed.processes}",
        ),
        (
            "train.checkpoint_minutes",
            train.checkpoint_minutes,
            0 < train.checkpoint_minutes < float("inf"),
            "a positive number of minutes",
        ),
        ("train.keep_rounds", train.keep_rounds, train.keep_rounds >= -1, "-1 (all), 0 or more"),
    ]
    data, protocol = config.dataset, config.protocol
    levels = data.levels
    good = len(levels) > 0 and all(isinstance(level, int) and level > 0 for level in levels)
    checks.append(("dataset.levels", levels, good, "whole numbers of at least 1, such as 3,4"))
    for name, number, least in (
        ("protocol.subjects", protocol.subjects, 0),
        ("protocol.folds", protocol.folds, 2),
        ("protocol.rounds", protocol.rounds, 1),
        ("dataset.synthetic_subjects", data.synthetic_subjects, 1),
        ("dataset.synthetic_seed", data.synthetic_seed, 0),
        ("protocol.seed", protocol.seed, 0),
        ("seed", config.seed, 0),
    ):
        checks.append((name, number, number >= least, f"{least} or more"))
    for name in ("beta1", "beta2"):
        checks.append((f"train.{name}", train[name], 0 <= train[name] < 1, "a share from 0 to below 1"))
    for name in ("epochs", "batch_size", "evaluate_every"):
        checks.append((f"train.{name}", train[name], train[name] > 0, "a positive whole number"))
    for name in ("folds_per_group", "folds_per_call", "steps_per_dispatch"):
        checks.append((f"train.{name}", train[name], _is_auto_or_positive(train[name]), '"auto" or a positive number'))
    for name, found, good, expected in checks:
        if not good:
            raise ConfigError(f"config.{name}: expected {expected}, found {found!r}")


def flat(tree: dict, prefix: str = "") -> dict[str, Any]:
    """{"train": {"epochs": 2}} -> {"train.epochs": 2}."""
    fields: dict[str, Any] = {}
    for key, value in tree.items():
        fields.update(flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value})
    return fields


def _is_auto_or_positive(value: str) -> bool:
    return value == "auto" or (value.isdecimal() and int(value) > 0)
