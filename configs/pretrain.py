"""Pretraining on varied synthetic subjects, drawn far more widely than the default ones; no data set is needed.

python -m afnet_jax.main --config=configs/pretrain.py --workdir=runs/pretrain
afnet export --workdir=runs/pretrain --out=pretrained.safetensors

The file is what `--config.model.start_from=pretrained.safetensors` takes (docs/accuracy.md). On a GPU at the paper's
size: `--config.dataset.image_size=224 --config.model.dtype=bfloat16`.
"""

from ml_collections import ConfigDict

from afnet_jax.recipes import shipped_config


def get_config(variant: str = "afnet") -> ConfigDict:
    return shipped_config("pretrain", variant)
