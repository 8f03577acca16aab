"""Synthetic subjects: no data set needed. Made, prepared, trained and tested in under seven minutes on two CPU cores.

python -m afnet_jax.main --config=configs/synthetic.py --workdir=runs/synthetic
"""

from ml_collections import ConfigDict

from afnet_jax.config import database_config


def get_config(variant: str = "afnet") -> ConfigDict:
    return database_config("synthetic", variant)
