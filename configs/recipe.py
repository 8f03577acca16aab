"""What learns most from few people without pretrained weights: augmentation, a schedule, mirror images.

python -m afnet_jax.main --config=configs/recipe.py --config.dataset.name=bosphorus --workdir=runs/recipe

docs/accuracy.md has what it gains over the paper's settings, which configs/bu3dfe.py and bosphorus.py keep.
"""

from ml_collections import ConfigDict

from afnet_jax.recipes import shipped_config


def get_config(variant: str = "afnet") -> ConfigDict:
    return shipped_config("recipe", variant)
