"""Shipped settings beside the databases' own: pretraining, fine-tuning, training from random weights.

The paper's settings stay those of `config.default_config` and of the databases; docs/accuracy.md has what was measured.
"""

from __future__ import annotations

from typing import Any

from ml_collections import ConfigDict

from afnet_jax.config import database_config, default_config
from afnet_jax.errors import ConfigError
from afnet_jax.scans.databases import DATABASES

_LOOKS: dict[str, Any] = {
    "train.flip": True,
    "train.max_shift": 3,
    "train.max_turn": 6.0,
    "train.max_zoom": 0.08,
    "train.colour_jitter": 0.15,
    "train.gamma": 0.4,
    "train.tint": 0.15,
    "train.grey": 0.7,
    "train.noise": 0.03,
    "train.noise_mm": 0.3,
    "train.blur": 0.8,
    "train.erase": 0.25,
}

# From random weights, on the few people that a database has; --config.dataset.name says which. Little augmentation
# and few epochs: with that of pretraining, or in twice as many, no more was learned (docs/accuracy.md).
_RECIPE: dict[str, Any] = {
    "dataset.image_size": 64,
    "protocol.subjects": 0,
    "protocol.folds": 5,
    "protocol.rounds": 1,
    "train.epochs": 15,
    "train.batch_size": 16,
    "train.learning_rate": 5e-4,
    "train.learning_rate_decay": "cosine",
    "train.weight_decay": 0.02,
    "train.label_smoothing": 0.1,
    "model.mirror": True,
    "train.flip": True,
    "train.max_turn": 4.0,
    "train.max_zoom": 0.05,
}

# Of config.train.augment, for heads that are posed well; docs/points.md has stronger ones.
MILD_3D: dict[str, float] = {
    "yaw": 8.0,
    "pitch": 8.0,
    "roll": 5.0,
    "shift_mm": 2.0,
    "scale": 0.05,
    "noise_mm": 0.2,
    "landmarks_mm": 0.5,
    "light": 0.15,
    "colour": 0.1,
}

RECIPES: dict[str, dict[str, Any]] = {
    # One training on synthetic subjects drawn far more widely than the default ones, the first of 50 folds held out.
    "pretrain": {
        "dataset.name": "synthetic",
        "dataset.image_size": 64,
        "dataset.synthetic_variety": "wide",
        "dataset.synthetic_subjects": 3000,
        "protocol.subjects": 0,
        "protocol.folds": 50,
        "protocol.folds_run": 1,
        "protocol.rounds": 1,
        "train.epochs": 5,
        "train.batch_size": 32,
        "train.learning_rate": 5e-4,
        "train.learning_rate_decay": "cosine",
        "train.warmup": 0.05,
        "train.weight_decay": 0.02,
        **_LOOKS,
    },
    "recipe": _RECIPE,
    # The same from raw points, and longer.
    "recipe_points": {
        **_RECIPE,
        "dataset.input": "points",
        "train.epochs": 40,
        **{f"train.augment.{name}": most for name, most in MILD_3D.items()},
    },
    # From pretrained weights, which --config.model.start_from names: less augmentation, for the steps are few.
    "finetune": {
        "model.start_from": "WEIGHTS",  # to be named by the user: nothing is there, and random weights are never meant
        "dataset.image_size": 64,
        "protocol.subjects": 0,
        "protocol.folds": 5,
        "protocol.rounds": 1,
        "train.epochs": 40,
        "train.batch_size": 16,
        "train.learning_rate": 1e-3,
        "train.learning_rate_decay": "cosine",
        "train.warmup": 0.1,
        "train.averaging": 0.97,
        "train.weight_decay": 0.02,
        "train.label_smoothing": 0.1,
        "model.mirror": True,
        "train.flip": True,
        "train.max_shift": 2,
        "train.max_turn": 4.0,
        "train.max_zoom": 0.05,
        "train.colour_jitter": 0.15,
    },
}
SHIPPED = tuple(sorted([*RECIPES, *(name for name, database in DATABASES.items() if database.settings)]))


def shipped_config(name: str, variant: str = "afnet") -> ConfigDict:
    """Returns the settings of a name in SHIPPED: of a database, or of a recipe.

    Raises:
        ConfigError: an unknown name or variant.
    """
    if name not in SHIPPED:
        raise ConfigError(f"config {name!r} is unknown; expected one of {', '.join(SHIPPED)}")
    if name in DATABASES:
        return database_config(name, variant)
    config = default_config(variant)
    config.update_from_flattened_dict(RECIPES[name])
    return config
