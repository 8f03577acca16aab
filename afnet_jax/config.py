"""Every setting of a run, with its default and its meaning."""

from __future__ import annotations

import dataclasses
from typing import Any

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from afnet_jax.config_checks import checks_of
from afnet_jax.errors import ConfigError
from afnet_jax.models.architecture import VARIANTS, Architecture, architecture_of
from afnet_jax.scans.databases import DATABASES

# Fields of earlier versions -> what took their place.
RENAMED = {"train.checkpoint_every": "train.checkpoint_minutes"}


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

    _add_dataset(config)
    _add_protocol(config)
    _add_model(config, variant)
    _add_optimization(config)
    _add_map_augmentation(config)
    _add_point_augmentation(config)  # in 3D, where dataset.input is "points"
    _add_execution(config)
    _add_processes(config)
    # Folder to write a jax.profiler trace to, of the first group's second epoch; "" for none.
    config.profile = ""
    # Folder of compiled programs that later runs on the same kind of machine start from; "" for none.
    config.compilation_cache = ""
    return config.lock()


def _add_dataset(config: ConfigDict) -> None:
    config.dataset = ConfigDict()
    # One of afnet_jax/scans/databases.py, or the name that scans of your own were prepared under (docs/own_data.md).
    config.dataset.name = "synthetic"
    # Folder that `afnet prepare` wrote to.
    config.dataset.data_dir = "data"
    # Edge of the network's input images, in pixels: 224 as in the paper, or another multiple of 32 below it.
    config.dataset.image_size = 224
    # "maps", as preprocessing draws them, or "points": the raw points, rendered within the step (docs/points.md).
    config.dataset.input = "maps"
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
    # "default", scanned and preprocessed, or "wide": drawn far more widely and rendered straight from their surfaces,
    # to learn from what shall be used on other people (docs/accuracy.md).
    config.dataset.synthetic_variety = "default"


def _add_protocol(config: ConfigDict) -> None:
    config.protocol = ConfigDict()
    # Subjects chosen at random among those with all six expressions; 0 for all.
    config.protocol.subjects = 60
    # Choose the subjects once, as the paper does, or anew in each round.
    config.protocol.fixed_subjects = True
    # Subject-disjoint folds of a round; each is tested once.
    config.protocol.folds = 10
    # Rounds of cross-validation, each with folds of its own.
    config.protocol.rounds = 100
    # Folds of a round that are trained and tested, the first ones; 0 for all.
    config.protocol.folds_run = 0
    # Which subjects are chosen, and who is in which fold.
    config.protocol.seed = 0
    # A splits.json of one's own, or of another run, instead of the draw.
    config.protocol.splits = ""


def _add_model(config: ConfigDict, variant: str) -> None:
    # What the network is made of: fields and defaults stand in afnet_jax/models/architecture.py.
    config.model = _architecture_fields(VARIANTS[variant])
    # "", or weights to start from: of a finished run of any variant, RUN[:round[:fold]], or a file by
    # `afnet export --out=FILE.safetensors`. What fits is taken, the rest is drawn; pretrained is then not read.
    config.model.start_from = ""
    # Tested and predicted is the mean of the logits of a face and of its mirror image.
    config.model.mirror = False
    # "none", "imagenet" (downloaded once), or a file or folder of ResNet18 weights (`afnet port-imagenet`).
    config.model.pretrained = "none"
    # Of the computation: "float32", or "bfloat16" for speed on a GPU; parameters, statistics and loss stay float32.
    config.model.dtype = "float32"
    # Of products of float32 numbers on a GPU: "default", which is TF32 there (10 bits of mantissa, several times the
    # speed), as "tensorfloat32" is; "float32" for all 23 bits; or "bfloat16". A CPU computes float32 in any case.
    config.model.matmul_precision = "default"


def _add_optimization(config: ConfigDict) -> None:
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
    # Share of all steps over which the rate rises from 0 to its full height.
    config.train.warmup = 0.0
    # Of the trunks' learning rate, as a share of all others': below 1 where they start from learned weights, 0 to keep
    # their weights as they are (their statistics follow the new data in any case).
    config.train.trunk_rate = 1.0
    # Kernels shrink by this share of the learning rate in each step (AdamW).
    config.train.weight_decay = 0.0
    # Share of the target that is spread evenly over all expressions.
    config.train.label_smoothing = 0.0
    # Tested and kept are the weights' exponential mean over the steps, of this decay (0.99: about the last 100 steps;
    # fewer at first); 0 for the last weights.
    config.train.averaging = 0.0
    # Of Adam, decay of the first moment.
    config.train.beta1 = 0.9
    # Of Adam, decay of the second moment.
    config.train.beta2 = 0.999


def _add_map_augmentation(config: ConfigDict) -> None:
    # Augmentation, off as in the paper: faces are mirrored half of the time.
    config.train.flip = False
    # Augmentation: shifted by up to so many pixels each way.
    config.train.max_shift = 0
    # Augmentation: brightness and contrast changed by up to this share, from 0 to below 1.
    config.train.colour_jitter = 0.0
    # Augmentation: turned in the image's plane by up to so many degrees each way.
    config.train.max_turn = 0.0
    # Augmentation: made larger or smaller by up to this share, from 0 to below 1.
    config.train.max_zoom = 0.0
    # Augmentation: this share of the scans sees the masks of another scan of its batch.
    config.train.swap_masks = 0.0
    # Augmentation: masks moved as if landmarks were off, each part of a face by itself: deviation in image pixels.
    config.train.move_masks = 0.0
    # Augmentation: the texture's gamma changed by up to this power of e.
    config.train.gamma = 0.0
    # Augmentation: each of the texture's colours brightened or darkened by up to this share, from 0 to below 1.
    config.train.tint = 0.0
    # Augmentation: the texture made grey by up to this share.
    config.train.grey = 0.0
    # Augmentation: noise on the texture, of up to this deviation as a share of full brightness.
    config.train.noise = 0.0
    # Augmentation: noise on depth, of up to this deviation in mm.
    config.train.noise_mm = 0.0
    # Augmentation: texture and depth, each by itself, blurred by up to so many pixels.
    config.train.blur = 0.0
    # Augmentation: a rectangle, its edges up to this share of the image's, cut out of half of the scans.
    config.train.erase = 0.0


def _add_point_augmentation(config: ConfigDict) -> None:
    """Every field is the most that a scan is changed by, drawn anew each epoch; 0 for not at all, as in the paper."""
    config.train.augment = ConfigDict()
    # Degrees that a head is turned to the side by, either way.
    config.train.augment.yaw = 0.0
    # Degrees that a head is turned up or down by.
    config.train.augment.pitch = 0.0
    # Degrees that a head is turned towards a shoulder by, either way.
    config.train.augment.roll = 0.0
    # Millimetres that a head is moved by along each axis, either way.
    config.train.augment.shift_mm = 0.0
    # Share that a head's size is changed by, either way.
    config.train.augment.scale = 0.0
    # Deviation, in mm, of a sensor's noise along the line of sight, on top of the scan's own.
    config.train.augment.noise_mm = 0.0
    # How many holes are torn into the surface.
    config.train.augment.holes = 0
    # Largest radius of these holes, mm.
    config.train.augment.hole_mm = 15.0
    # Deviation, in mm, of each landmark from its place, which moves the masks.
    config.train.augment.landmarks_mm = 0.0
    # Share by which a lamp from the side brightens what faces it.
    config.train.augment.light = 0.0
    # Share that each colour's brightness is changed by.
    config.train.augment.colour = 0.0


def _add_execution(config: ConfigDict) -> None:
    """Adds how the work is laid out, watched and saved; no training's result depends on these fields, but for
    rounding on train.folds_per_call."""
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


def _add_processes(config: ConfigDict) -> None:
    config.distributed = ConfigDict()
    # Several processes as one run, each with its own devices, all with the same --workdir: "" for a single process,
    # "auto" where SLURM, Open MPI or Kubernetes tell JAX of the others, else HOST:PORT of the first.
    config.distributed.coordinator = ""
    # How many processes, where coordinator is HOST:PORT.
    config.distributed.processes = 0
    # Which of them this one is, from 0, where coordinator is HOST:PORT.
    config.distributed.process = -1


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
    for field, found, good, expected in checks_of(config):
        if not good:
            raise ConfigError(f"config.{field}: expected {expected}, found {found!r}")


def flat(tree: dict, prefix: str = "") -> dict[str, Any]:
    """{"train": {"epochs": 2}} -> {"train.epochs": 2}."""
    fields: dict[str, Any] = {}
    for key, value in tree.items():
        fields.update(flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value})
    return fields
