"""Trains and evaluates AFNet-M: python -m afnet_jax.main --config=configs/synthetic.py --workdir=runs/synthetic

Run again with the same --workdir, it goes on where it stopped. A variant of the network stands after a colon
(--config=configs/bu3dfe.py:no_ma); any field of the config can be set (--config.train.epochs=20).
"""

from __future__ import annotations

import sys

from absl import flags
from ml_collections import config_flags

from afnet_jax.command_line import run_command
from afnet_jax.config import validate
from afnet_jax.huge_pages import start_with_huge_pages

_CONFIG = config_flags.DEFINE_config_file("config", None, "File of settings, configs/X.py or configs/X.py:variant.")
flags.mark_flag_as_required("config")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; made where it does not exist.", required=True)
_MODE = flags.DEFINE_enum("mode", "train", ["train", "evaluate"], "evaluate: test the stored checkpoints anew.")


def _main() -> None:
    validate(_CONFIG.value)
    from afnet_jax.analysis.experiment import run_experiment  # not above: --help and faults must not wait for JAX

    run_experiment(_CONFIG.value, _WORKDIR.value, mode=_MODE.value)


if __name__ == "__main__":
    start_with_huge_pages()
    sys.exit(run_command(_main, sys.argv, __doc__))
