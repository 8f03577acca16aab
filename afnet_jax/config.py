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
INPUTS = ("maps", "points")
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
    # Folder that tools/prepare_dataset.py wrote to.
    config.dataset.data_dir = "data"
    # Edge in pixels of the images at the network's door: 224 as in the paper, or another multiple of 32 below it.
    config.dataset.image_size = 224
    # "maps", as preprocessing draws them, or "points": the raw points, rendered within the step (docs/points.md).
    config.dataset.input = "maps"
    # Intensities that take part, of those that the data set holds; scans without a level always do.
    config.dataset.levels = (3, 4)
    # Synthetic subjects, made and prepared on first use where name is "synthetic".
    config.dataset.synthetic_subjects = 30
    config.dataset.synthetic_seed = 0

    config.protocol = ConfigDict()
    # Subjects chosen at random among those with all six expressions; 0 for all.
    config.protocol.subjects = 60
    # Choose them once, as the paper does, or anew in each round.
    config.protocol.fixed_subjects = True
    config.protocol.folds = 10
    config.protocol.rounds = 100
    config.protocol.seed = 0
    # A splits.json of one's own, or of another run, instead of the draw.
    config.protocol.splits = ""

    # What the network is made of: fields and defaults stand in afnet_jax/models/architecture.py.
    config.model = _architecture_fields(VARIANTS[variant])
    # "none", "imagenet" (downloaded once), or a file or folder of ResNet18 weights (tools/port_imagenet.py).
    config.model.pretrained = "none"
    # Of the computation: "float32", or "bfloat16" for speed on a GPU; parameters, statistics and loss stay float32.
    config.model.dtype = "float32"
    # Of products of float32 numbers on a GPU: "default", which is TF32 there (10 bits of mantissa, several times the
    # speed), as "tensorfloat32" is; "float32" for all 23 bits; or "bfloat16". A CPU computes float32 in any case.
    config.model.matmul_precision = "default"

    config.train = ConfigDict()
    config.train.epochs = 70
    # Not given in the paper. An epoch is floor(scans / batch_size) full batches of a fresh permutation.
    config.train.batch_size = 32
    # Adam with a fixed rate (section III-B).
    config.train.learning_rate = 1e-4
    # "none" as in the paper, or "cosine": down to 0 over all epochs.
    config.train.learning_rate_decay = "none"
    config.train.beta1 = 0.9
    config.train.beta2 = 0.999
    # Augmentation, off as in the paper: mirrored half of the time; shifted by up to so many pixels; brightness and
    # contrast changed by up to this share.
    config.train.flip = False
    config.train.max_shift = 0
    config.train.colour_jitter = 0.0
    # In 3D, where dataset.input is "points".
    config.train.augment = _augmentation_fields()
    # Trainings that run side by side: a number, or "auto" for as many as fit the device's memory, up to 20 a device.
    config.train.folds_per_group = "auto"
    # How many of them one call of the compiled program takes: a number, or "auto" (1 per CPU device, all elsewhere).
    config.train.folds_per_call = "auto"
    # Steps per call of the compiled program: a number, or "auto" (1 on a CPU, a whole epoch elsewhere).
    config.train.steps_per_dispatch = "auto"
    # Minutes of training that a kill may cost: trainings under way are saved so often (docs/reliability.md).
    config.train.checkpoint_minutes = 10.0
    # Epochs between evaluations on the test folds, for the curves alone; the last epoch always counts.
    config.train.evaluate_every = 1
    # Rounds whose trained weights are kept, from the first on; -1 for all (89 MiB a training). Predictions always are.
    config.train.keep_rounds = 1

    # Several processes as one run, each with its own devices, all with the same --workdir: "" for a single process,
    # "auto" where SLURM, Open MPI or Kubernetes tell JAX of the others, else HOST:PORT of the first, their number and
    # which one this is (from 0).
    config.distributed = ConfigDict({"coordinator": "", "processes": 0, "process": -1})

    # Folder to write a jax.profiler trace to, of the first group's second epoch; "" for none.
    config.profile = ""
    # Folder of compiled programs that later runs on the same kind of machine start from; "" for none.
    config.compilation_cache = ""
    return config.lock()


def _augmentation_fields() -> ConfigDict:
    """Every field is the most that a scan is changed by, drawn anew each epoch; 0 for not at all, as in the paper."""
    augment = ConfigDict()
    # Degrees that a head is turned by, either way: to the side, up or down, towards a shoulder.
    augment.yaw = 0.0
    augment.pitch = 0.0
    augment.roll = 0.0
    # mm that it is moved by along each axis, and share that its size is changed by, either way.
    augment.shift_mm = 0.0
    augment.scale = 0.0
    # mm, deviation of a sensor's noise along the line of sight, on top of the scan's own.
    augment.noise_mm = 0.0
    # How many holes are torn into the surface, and their radius in mm.
    augment.holes = 0
    augment.hole_mm = 15.0
    # mm, deviation of each landmark from its place, which moves the masks.
    augment.landmarks_mm = 0.0
    # Share by which a lamp from the side brightens what faces it; share that each colour's brightness is changed by.
    augment.light = 0.0
    augment.colour = 0.0
    return augment


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
    checks.append(("dataset.input", data.input, data.input in INPUTS, f"one of {', '.join(INPUTS)}"))
    checks += _checks_of_augmentation(train.augment, data.input)
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


def _checks_of_augmentation(augment: ConfigDict, source: str) -> list[tuple[str, Any, bool, str]]:
    """Returns fields, what was found, whether it is good, and what was expected."""
    limits = {"yaw": 90, "pitch": 90, "roll": 180, "scale": 0.5, "light": 1, "colour": 1}
    from_maps = (
        "0 where config.dataset.input is 'maps': only points can be changed in 3D (--config.dataset.input=points)"
    )
    checks = []
    for name, value in augment.items():
        field, most = f"train.augment.{name}", limits.get(name, 100)
        checks.append((field, value, 0 <= value <= most, f"a number from 0 to {most}"))
        if name != "hole_mm":  # which changes nothing where there are no holes
            checks.append((field, value, source == "points" or not value, from_maps))
    return checks


def flat(tree: dict, prefix: str = "") -> dict[str, Any]:
    """{"train": {"epochs": 2}} -> {"train.epochs": 2}."""
    fields: dict[str, Any] = {}
    for key, value in tree.items():
        fields.update(flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value})
    return fields


def _is_auto_or_positive(value: str) -> bool:
    return value == "auto" or (value.isdecimal() and int(value) > 0)
