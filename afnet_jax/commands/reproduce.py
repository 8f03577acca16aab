"""Trains every variant of the paper's tables and of Fig. 5, then draws them beside the paper's numbers.

    afnet reproduce --config=bu3dfe --workdir=runs/paper

Each variant is run in a folder of its own within --workdir; run again, it goes on where it stopped, and what is
finished is only drawn anew, in --workdir/paper. Any field of the config can be set (--config.protocol.rounds=1).
"""

from __future__ import annotations

import argparse

from afnet_jax.commands.command_line import report_faults
from afnet_jax.commands.config_arguments import config_parser
from afnet_jax.huge_pages import start_with_huge_pages
from afnet_jax.models.architecture import VARIANTS


def main() -> int:
    start_with_huge_pages()
    parser = config_parser(__doc__)
    parser.add_argument("--workdir", required=True, metavar="DIR", help="folder of all the runs; made if need be")
    parser.add_argument(
        "--variants", type=_variants, default=[], metavar="NAME,…", help="these alone: afnet,no_ma (default: all)"
    )
    given = parser.parse_args()

    def run() -> None:
        from afnet_jax.experiments.paper import reproduce  # not above: --help must not wait for JAX

        reproduce(given.config, given.workdir, given.variants)

    return report_faults(run)


def _variants(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := [name for name in names if name not in VARIANTS]:
        raise argparse.ArgumentTypeError(f"expected some of {','.join(VARIANTS)}, found {unknown[0]!r}")
    if not names:
        raise argparse.ArgumentTypeError(f"expected some of {','.join(VARIANTS)}, found none; leave it out for all")
    return names
