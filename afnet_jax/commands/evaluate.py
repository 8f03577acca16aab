"""Tests a finished run's networks on another prepared data set, or several runs on several.

    afnet evaluate --workdir=runs/bu3dfe --on=bosphorus --data_dir=data --out=on_bosphorus

Writes evaluation.html, evaluation.json and predictions.npz into --out: accuracy with its interval over subjects, each
network, each expression, each subject, calibration. --workdir and --on may be given several times; then --out gets a
folder for each pair, and cross_database.html. Subjects whom a network learned from are not tested by it. Without --on
it tests the stored checkpoints of one run anew, on its own folds: afnet evaluate --config=bu3dfe --workdir=runs/bu3dfe
(the same as afnet train --mode=evaluate).
"""

from __future__ import annotations

import argparse
import re
import sys

from afnet_jax.commands import train
from afnet_jax.commands.command_line import CommandParser, command_parser, not_negative, report_faults


def _main(arguments: argparse.Namespace) -> None:
    from afnet_jax.analysis.cross_database import evaluate_all  # not above: --help must not wait for JAX
    from afnet_jax.analysis.run import load_run
    from afnet_jax.paths import user_path

    folders = arguments.data_dir * (len(arguments.on) if len(arguments.data_dir) == 1 else 1)
    evaluate_all(
        [load_run(workdir) for workdir in arguments.workdir],
        {name: user_path(folder) for name, folder in zip(arguments.on, folders, strict=True)},
        user_path(arguments.out),
        round=arguments.round,
        levels=arguments.levels,
        people=arguments.people,
    )
    print(
        f"{arguments.out}: {'evaluation' if len(arguments.on) * len(arguments.workdir) == 1 else 'cross_database'}.html"
    )


def _levels(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*,?", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"expected whole numbers of at least 1, such as 3,4, found {text!r}")
    return tuple(int(level) for level in text.split(",") if level)


def _parser() -> CommandParser:
    parser = command_parser(
        __doc__,
        usage="%(prog)s --workdir=RUN --on=DATABASE --data_dir=DIR --out=DIR [options]\n"
        "       %(prog)s --config=NAME|FILE --workdir=RUN",
    )
    parser.add_argument(
        "--workdir",
        required=True,
        action="append",
        metavar="RUN",
        help="folder of a finished run; give several if you like",
    )
    parser.add_argument(
        "--on",
        required=True,
        action="append",
        metavar="DATABASE",
        help="name of a prepared data set; several if you like",
    )
    parser.add_argument(
        "--data_dir",
        required=True,
        action="append",
        metavar="DIR",
        help="folder of prepared data sets: one for all, or one for each --on in the same order",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write to; made if need be")
    parser.add_argument("--round", type=not_negative, default=0, metavar="N", help="round whose networks are asked")
    parser.add_argument(
        "--levels", type=_levels, default=(), metavar="N,N", help="intensities that take part (default: the run's)"
    )
    parser.add_argument(
        "--people",
        choices=("auto", "same", "other"),
        default="auto",
        help="whether a subject id that the run has, too, is the same person; auto: in data sets of one name",
    )
    return parser


def main() -> int:
    names = {argument.lstrip("-").split("=")[0] for argument in sys.argv[1:]}
    if any(name == "config" or name.startswith("config.") for name in names) and "on" not in names:
        sys.argv.insert(1, "--mode=evaluate")
        return train.main()
    parser = _parser()
    given = parser.parse_args()
    if len(given.data_dir) not in (1, len(given.on)):
        parser.error(f"--data_dir: expected one, or as many as --on ({len(given.on)}), found {len(given.data_dir)}")
    if len(set(given.on)) < len(given.on):
        parser.error("--on: a data set is given twice; give each once")
    return report_faults(lambda: _main(given))
