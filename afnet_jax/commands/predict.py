"""Raw scans -> probabilities of the six expressions, by the networks of a finished run.

    python tools/predict.py --workdir=runs/bosphorus bs000_E_ANGER_0.bnt FOLDER_OF_SCANS

Probabilities are the mean over the networks of the run's folds, or those of one (--fold). A scan that cannot be used
is named on stderr with the reason, the others go on, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import sys

from afnet_jax.commands.command_line import command_parser, report_faults


def _main(arguments: argparse.Namespace) -> int:
    from afnet_jax.analysis.prediction import Prediction, Predictor, find_files, predict, read_faces, to_table
    from afnet_jax.analysis.run import load_run  # not above: --help must not wait for JAX
    from afnet_jax.scans.databases import readable_databases

    databases = readable_databases(arguments.reader)
    run = load_run(arguments.workdir)
    paths = find_files(arguments.scans, databases)
    data = run.config.dataset
    faces = read_faces(paths, data.image_size, databases, run.config.model.modalities, data.input)
    found, rejected = [], 0
    for outcome in predict(Predictor(run, round=arguments.round, fold=arguments.fold), faces):
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
        from afnet_jax.analysis.figures import save_prediction_picture

        save_prediction_picture(run, found, arguments.picture, round=arguments.round, fold=arguments.fold)
    return 1 if rejected else 0


def main() -> int:
    parser = command_parser(__doc__)
    parser.add_argument("scans", nargs="+", metavar="SCAN", help="….bnt, …_F3D.wrl, or a folder of such")
    parser.add_argument("--workdir", required=True, help="folder of a finished run")
    parser.add_argument("--round", type=int, default=0, help="round whose networks are asked (default: 0)")
    parser.add_argument("--fold", type=int, help="ask the network of this fold alone")
    parser.add_argument("--json", action="store_true", help="one line of JSON for each scan")
    parser.add_argument("--reader", metavar="FILE.py", help="reads scans of your own (docs/own_data.md)")
    parser.add_argument("--picture", metavar="FILE.png", help="texture, depth and Grad-CAM of each scan in one picture")
    parsed = parser.parse_args()
    return report_faults(lambda: _main(parsed))
