"""A finished run's networks -> a StableHLO program, its weights as safetensors and a description in JSON.

    afnet export --workdir=runs/bosphorus --out=exported

The program takes any number of faces and gives the mean of the probabilities of the run's folds, or those of one
(--fold). It runs wherever JAX runs; model.json says how to call it.
"""

from __future__ import annotations

import argparse

from afnet_jax.commands.command_line import command_parser, not_negative, report_faults


def _main(arguments: argparse.Namespace) -> None:
    from afnet_jax.analysis.export import export_model  # not above: --help must not wait for JAX
    from afnet_jax.analysis.run import load_run

    folder = export_model(load_run(arguments.workdir), arguments.out, round=arguments.round, fold=arguments.fold)
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{folder}: {size / 2**20:.1f} MiB; model.json says how to call it")


def main() -> int:
    parser = command_parser(__doc__)
    parser.add_argument("--workdir", required=True, metavar="RUN", help="folder of a finished run")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write to; made if need be")
    parser.add_argument(
        "--round", type=not_negative, default=0, metavar="N", help="round whose networks are exported, from 0"
    )
    parser.add_argument(
        "--fold",
        type=not_negative,
        metavar="N",
        help="export the network of this fold alone, from 0 (default: all folds)",
    )
    parsed = parser.parse_args()
    return report_faults(lambda: _main(parsed))
