"""Sets a finished run beside logistic regression on landmarks, depth and texture, on the same splits.

    afnet compare --workdir=runs/synthetic

Then asks what the network rests on: how often it is right where one input of a scan is another scan's.
Writes baselines.json into the run's folder and shows the models in its report.html. A run does so at its end for its
first rounds, up to some 20 folds; this command for all that are complete, or the first so many (--rounds).
"""

from __future__ import annotations

import argparse

from afnet_jax.commands.command_line import command_parser, positive, report_faults


def _main(arguments: argparse.Namespace) -> None:
    from afnet_jax.analysis.baselines import run_baselines, verdict  # not above: --help must not wait for JAX
    from afnet_jax.analysis.reliance import rests_on, told
    from afnet_jax.analysis.report import write_report
    from afnet_jax.analysis.run import load_run
    from afnet_jax.analysis.tables import baselines_table
    from afnet_jax.datasets.loading import load
    from afnet_jax.errors import RunError
    from afnet_jax.runs.folder import write_baselines

    run = load_run(arguments.workdir)
    run.summary  # noqa: B018  a run that is not finished is told before its data set is loaded
    dataset = run.config.dataset.copy_and_resolve_references()
    if arguments.data_dir:
        dataset.data_dir = arguments.data_dir
    data = load(dataset, run.config.model.modalities)
    baselines = run_baselines(run, data, most_rounds=arguments.rounds)
    try:
        baselines["rests_on"] = rests_on(run, data)
        rests = told(baselines["rests_on"])
    except RunError as error:  # weights that were not kept
        rests = f"Not told what the network rests on: {error}"
    print(baselines_table(baselines, run.config.variant).to_text())
    print(verdict(baselines))
    print(rests, flush=True)
    write_baselines(run.path, baselines)
    write_report(run, data)


def main() -> int:
    parser = command_parser(__doc__)
    parser.add_argument("--workdir", required=True, metavar="RUN", help="folder of a finished run")
    parser.add_argument(
        "--data_dir",
        metavar="DIR",
        help="folder of prepared data sets, where the run's own lies by now (default: where it was trained)",
    )
    parser.add_argument(
        "--rounds", type=positive, metavar="N", help="compare on the first so many complete rounds (default: all)"
    )
    parsed = parser.parse_args()
    return report_faults(lambda: _main(parsed))
