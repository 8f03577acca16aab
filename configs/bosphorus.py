"""The paper's protocol on Bosphorus: 60 of its 63 complete subjects, 100 rounds of 10 folds, 70 epochs from
ImageNet.

afnet prepare --database=bosphorus --raw=FOLDER_OF_BOSPHORUS --data_dir=data
python -m afnet_jax.main --config=configs/bosphorus.py --workdir=runs/bosphorus

The paper reports 88.31 %. 1,000 trainings: this needs a GPU; `--config.protocol.rounds=1` is a first look.
"""

from ml_collections import ConfigDict

from afnet_jax.config import database_config


def get_config(variant: str = "afnet") -> ConfigDict:
    return database_config("bosphorus", variant)
