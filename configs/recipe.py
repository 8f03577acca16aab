"""Few people, from random weights: more augmentation than configs/finetune.py, a schedule, mirror images.

python -m afnet_jax.main --config=configs/recipe.py --config.dataset.name=bosphorus --workdir=runs/recipe

Measured on few people it told less right than milder settings (docs/accuracy.md). The paper's settings are those of
configs/bu3dfe.py and bosphorus.py.
"""

from ml_collections import ConfigDict

from afnet_jax.recipes import shipped_config


def get_config(variant: str = "afnet") -> ConfigDict:
    return shipped_config("recipe", variant)
