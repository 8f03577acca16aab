"""Made-up people: no data set needed. Made, prepared, trained and tested in under ten minutes on two CPU cores.

python -m afnet_jax.main --config=configs/synthetic.py --workdir=runs/synthetic
"""

from ml_collections import ConfigDict

from afnet_jax.config import default_config


def get_config(variant: str = "afnet") -> ConfigDict:
    config = default_config(variant)
    config.dataset.name = "synthetic"
    config.dataset.image_size = 64
    config.protocol.update(subjects=0, folds=5, rounds=1)
    # From random weights, so at a higher rate than the paper's, which starts from ImageNet's.
    config.train.update(epochs=20, learning_rate=1e-3, checkpoint_every=10)
    return config
