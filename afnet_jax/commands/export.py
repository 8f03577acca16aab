"""A finished run's networks -> a StableHLO program, its weights as safetensors and a description in JSON.

    afnet export --workdir=runs/bosphorus --out=exported

The program takes any number of faces and gives the mean of the probabilities of the run's folds, or those of one
(--fold). It runs wherever JAX runs; model.json says how to call it.

    afnet export --workdir=runs/pretrain --out=pretrained.safetensors

writes the weights of one network alone, for others to start from (--config.model.start_from=pretrained.safetensors):
parameters in bfloat16, half the size.
"""

from __future__ import annotations

import argparse

from afnet_jax.commands.command_line import command_parser, not_negative, report_faults


def _main(arguments: argparse.Namespace) -> None:
    if arguments.out.endswith(".safetensors"):
        return _export_weights(arguments)
    from afnet_jax.analysis.export import export_model  # not above: --help must not wait for JAX
    from afnet_jax.analysis.run import load_run

    folder = export_model(load_run(arguments.workdir), arguments.out, round=arguments.round, fold=arguments.fold)
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{folder}: {size / 2**20:.1f} MiB; model.json says how to call it")


def _export_weights(arguments: argparse.Namespace) -> None:
    from afnet_jax.models.starting_weights import save_weights
    from afnet_jax.paths import user_path
    from afnet_jax.runs.start import load_from_run

    out = user_path(arguments.out)
    weights = load_from_run(user_path(arguments.workdir), arguments.round, arguments.fold or 0)
    digest = save_weights(weights, out)
    print(f"{out}: {out.stat().st_size / 2**20:.1f} MiB, SHA-256 {digest}: the weights of {weights.source}")


def main() -> int:
    parser = command_parser(__doc__)
    parser.add_argument("--workdir", required=True, metavar="RUN", help="folder of a finished run")
    parser.add_argument(
        "--out",
        required=True,
        metavar="DIR|FILE",
        help="folder to write to, or FILE.safetensors for the weights of one network",
    )
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
