"""Predicts the expression of raw scans: probabilities of the six, by the networks of a finished run.

    afnet predict --workdir=runs/bosphorus bs000_E_ANGER_0.bnt FOLDER_OF_SCANS

Probabilities are the mean over the networks of the run's folds, or those of one (--fold). A scan that cannot be used
is named on stderr with the reason, the others go on, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import sys

from afnet_jax.commands.command_line import command_parser, not_negative, report_faults

_SYNTHETIC = (
    "its networks have seen synthetic subjects only: of people, expect them to be wrong more often than not "
    "(docs/analysis.md)"
)


def _main(arguments: argparse.Namespace) -> int:
    from afnet_jax.analysis.countdown import Countdown
    from afnet_jax.analysis.prediction import Prediction, Predictor, predict, read_faces, to_table
    from afnet_jax.analysis.run import load_run  # not above: --help must not wait for JAX
    from afnet_jax.scans import ScanError
    from afnet_jax.scans.databases import readable_databases
    from afnet_jax.scans.scan_files import find_files, refuse_overwriting

    if arguments.picture:
        from afnet_jax.analysis.figures import check_picture_file

        check_picture_file(arguments.picture)
    databases = readable_databases(arguments.reader)
    run = load_run(arguments.workdir)
    paths = find_files(arguments.scans, databases)
    if arguments.picture:
        refuse_overwriting(arguments.picture, paths, databases)
    if all(isinstance(path, ScanError) for path in paths):  # told at once, before a program is compiled
        for fault in paths:
            print(f"error: {fault}", file=sys.stderr)
        return 1
    found, rejected = [], 0
    with read_faces(paths, run.config, databases) as faces:
        predictor = Predictor(run, round=arguments.round, fold=arguments.fold)
        if predictor.synthetic_only:
            print(f"warning: {run.path}: {_SYNTHETIC}", file=sys.stderr)
        countdown = Countdown("scans", len(paths))
        for outcome in predict(predictor, faces):
            countdown.add()
            if not isinstance(outcome, Prediction):
                print(f"error: {outcome}", file=sys.stderr)
                rejected += 1
                continue
            found.append(outcome)
            for remark in outcome.face.remarks:
                print(f"warning: {outcome.face.path}: {remark}", file=sys.stderr)
            if arguments.json:
                print(outcome.to_json(), flush=True)
    if found and not arguments.json:
        print(to_table(found))
    if found and arguments.picture:
        from afnet_jax.analysis.figures import MOST_ROWS, save_prediction_picture

        if len(found) > MOST_ROWS:
            print(f"warning: {arguments.picture}: shows the first {MOST_ROWS} of {len(found)} scans", file=sys.stderr)
        save_prediction_picture(run, found, arguments.picture, round=arguments.round, fold=arguments.fold)
    return 1 if rejected else 0


def main() -> int:
    parser = command_parser(__doc__)
    parser.add_argument(
        "scans",
        nargs="+",
        metavar="SCAN",
        help="….bnt, …_F3D.wrl, a mesh (.obj, .ply, .glb, .stl), or a folder of such",
    )
    parser.add_argument("--workdir", required=True, metavar="RUN", help="folder of a finished run")
    parser.add_argument(
        "--round", type=not_negative, default=0, metavar="N", help="round whose networks are asked, from 0"
    )
    parser.add_argument(
        "--fold", type=not_negative, metavar="N", help="ask the network of this fold alone, from 0 (default: all folds)"
    )
    parser.add_argument("--json", action="store_true", help="one line of JSON for each scan")
    parser.add_argument("--reader", metavar="FILE.py", help="reads scans of your own (docs/own_data.md)")
    parser.add_argument(
        "--picture", metavar="FILE.png", help="one picture of texture, depth and Grad-CAM of each scan, at most 40"
    )
    parsed = parser.parse_args()
    return report_faults(lambda: _main(parsed))
