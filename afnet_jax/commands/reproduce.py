"""Every variant of the paper's tables and of Fig. 5, then its tables and figures beside the paper's numbers.

    python tools/reproduce_paper.py --config=configs/bu3dfe.py --workdir=runs/paper

Each variant is run in a folder of its own within --workdir; run again, it goes on where it stopped, and what is
finished is only drawn anew, in --workdir/paper. Any field of the config can be set (--config.protocol.rounds=1).
"""

from __future__ import annotations

import sys

from absl import flags

from afnet_jax.commands.command_line import config_flag, run_command
from afnet_jax.huge_pages import start_with_huge_pages


def main() -> int:
    start_with_huge_pages()
    known = flags.FlagValues()
    config = config_flag("File of settings, configs/X.py, without a variant.", known)
    workdir = flags.DEFINE_string(
        "workdir", None, "Folder of all the runs; made where it does not exist.", required=True, flag_values=known
    )
    variants = flags.DEFINE_list("variants", [], "Run these alone: afnet,no_ma and so on.", flag_values=known)

    def run() -> None:
        from afnet_jax.experiments.paper import reproduce  # not above: --help must not wait for JAX

        reproduce(config.value, workdir.value, variants.value)

    return run_command(run, sys.argv, __doc__, known)
