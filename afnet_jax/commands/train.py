"""Trains and evaluates AFNet-M: python -m afnet_jax.main --config=configs/synthetic.py --workdir=runs/synthetic

Run again with the same --workdir, it resumes where it stopped. A variant of the network stands after a colon
(--config=configs/bu3dfe.py:no_ma); any field of the config can be set (--config.train.epochs=20).
"""

from __future__ import annotations

import sys

from absl import flags

from afnet_jax.commands.command_line import config_flag, run_command
from afnet_jax.huge_pages import start_with_huge_pages


def main() -> int:
    start_with_huge_pages()
    known = flags.FlagValues()
    config = config_flag("File of settings, configs/X.py or configs/X.py:variant.", known)
    workdir = flags.DEFINE_string(
        "workdir", None, "Folder of the run; made where it does not exist.", required=True, flag_values=known
    )
    mode = flags.DEFINE_enum(
        "mode", "train", ["train", "evaluate"], "evaluate: test the stored checkpoints anew.", flag_values=known
    )

    def run() -> None:
        from afnet_jax.experiments.run import run_experiment  # not above: --help must not wait for JAX

        run_experiment(config.value, workdir.value, mode=mode.value)

    return run_command(run, sys.argv, __doc__, known)
