"""Trains and evaluates a network on all folds of all rounds, or resumes the run in --workdir.

    afnet train --config=synthetic --workdir=runs/synthetic

A variant of the network stands after a colon (--config=bu3dfe:no_ma); any field of the config can be set
(--config.train.epochs=20). `python -m afnet_jax.main` does the same.
"""

from __future__ import annotations

from afnet_jax.commands.command_line import report_faults
from afnet_jax.commands.config_arguments import config_parser
from afnet_jax.huge_pages import start_with_huge_pages


def main() -> int:
    start_with_huge_pages()
    parser = config_parser(__doc__)
    parser.add_argument("--workdir", required=True, metavar="DIR", help="folder of the run; made if need be")
    parser.add_argument(
        "--mode",
        choices=("train", "evaluate"),
        default="train",
        help="evaluate: test the stored checkpoints anew, without training",
    )
    given = parser.parse_args()

    def run() -> None:
        from afnet_jax.experiments.run import run_experiment  # not above: --help must not wait for JAX

        run_experiment(given.config, given.workdir, mode=given.mode)

    return report_faults(run)
