"""The paper's protocol on BU-3DFE: 60 subjects, levels 3 and 4, 100 rounds of 10 folds, 70 epochs from ImageNet.

afnet prepare --database=bu3dfe --raw=FOLDER_OF_BU3DFE --data_dir=data
python -m afnet_jax.main --config=configs/bu3dfe.py --workdir=runs/bu3dfe

The paper reports 90.08 %. 1,000 trainings: this needs a GPU; `--config.protocol.rounds=1` is a first look.
"""

from ml_collections import ConfigDict

from afnet_jax.config import database_config


def get_config(variant: str = "afnet") -> ConfigDict:
    return database_config("bu3dfe", variant)
