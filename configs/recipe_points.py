"""Few people, from random weights, from their raw points: heads turned, moved and lit anew in every step.

python -m afnet_jax.main --config=configs/recipe_points.py --config.dataset.name=bosphorus --workdir=runs/recipe_points

docs/accuracy.md has what it reached, docs/points.md what points are.
"""

from ml_collections import ConfigDict

from afnet_jax.recipes import shipped_config


def get_config(variant: str = "afnet") -> ConfigDict:
    return shipped_config("recipe_points", variant)
