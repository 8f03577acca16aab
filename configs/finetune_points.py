"""Fine-tuning of pretrained weights, which configs/pretrain.py makes, from raw points with 3D augmentation.

python -m afnet_jax.main --config=configs/finetune_points.py --config.model.start_from=pretrained.safetensors \
  --config.dataset.name=bosphorus --workdir=runs/finetune_points

docs/accuracy.md has what it reached, docs/points.md what points are.
"""

from ml_collections import ConfigDict

from afnet_jax.recipes import shipped_config


def get_config(variant: str = "afnet") -> ConfigDict:
    return shipped_config("finetune_points", variant)
