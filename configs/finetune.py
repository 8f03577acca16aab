"""Fine-tuning of pretrained weights, which configs/pretrain.py makes; docs/accuracy.md has how far that leads.

python -m afnet_jax.main --config=configs/finetune.py --config.model.start_from=pretrained.safetensors \
  --config.dataset.name=bosphorus --workdir=runs/finetune
"""

from ml_collections import ConfigDict

from afnet_jax.recipes import shipped_config


def get_config(variant: str = "afnet") -> ConfigDict:
    return shipped_config("finetune", variant)
