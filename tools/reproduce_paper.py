"""Every variant of the paper's tables and of Fig. 5, then its tables and figures beside the paper's numbers.

    python tools/reproduce_paper.py --config=configs/bu3dfe.py --workdir=runs/paper

Each variant is run in a folder of its own within --workdir; run again, it goes on where it stopped, and what is
finished is only drawn anew, in --workdir/paper. Any field of the config can be set (--config.protocol.rounds=1).
"""

from __future__ import annotations

import sys

from absl import flags
from ml_collections import config_flags

from afnet_jax.command_line import run_command
from afnet_jax.huge_pages import start_with_huge_pages

_CONFIG = config_flags.DEFINE_config_file("config", None, "File of settings, configs/X.py, without a variant.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of all the runs; made where it does not exist.")
_VARIANTS = flags.DEFINE_list("variants", [], "Run these alone: afnet,no_ma and so on.")
flags.mark_flags_as_required(["config", "workdir"])


def _main() -> None:
    from afnet_jax.analysis.reproduction import reproduce  # not above: --help must not wait for JAX

    reproduce(_CONFIG.value, _WORKDIR.value, _VARIANTS.value)


if __name__ == "__main__":
    start_with_huge_pages()
    sys.exit(run_command(_main, sys.argv, __doc__))
