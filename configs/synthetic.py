"""Made-up people: no data set needed. Made, prepared, trained and tested in about eight minutes on two CPU cores.

python -m afnet_jax.main --config=configs/synthetic.py --workdir=runs/synthetic
"""

from ml_collections import ConfigDict

from afnet_jax.config import default_config


def get_config(variant: str = "afnet") -> ConfigDict:
    config = default_config(variant)
    config.dataset.name = "synthetic"
    config.dataset.image_size = 64
    config.protocol.update(subjects=0, folds=5, rounds=1)
    # From random weights and few people, so unlike the paper: a higher rate that decays, small batches, mirrored faces.
    config.train.update(epochs=10, batch_size=16, learning_rate=5e-4, learning_rate_decay="cosine", flip=True)
    return config
