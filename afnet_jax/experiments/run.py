"""A whole experiment: training, evaluation and its summary."""

from __future__ import annotations

from pathlib import Path

import jax
from ml_collections import ConfigDict

from afnet_jax.analysis.figures import confusion_matrices, to_pixels
from afnet_jax.analysis.report import write_report
from afnet_jax.analysis.run import load_run
from afnet_jax.analysis.summary import summarize
from afnet_jax.config import validate
from afnet_jax.datasets.loading import FaceDataset, load
from afnet_jax.errors import RunError
from afnet_jax.gpu import check_gpu
from afnet_jax.runs.folder import RunFolder, write_summary
from afnet_jax.runs.tensorboard import write_picture
from afnet_jax.training import processes
from afnet_jax.training.loop import evaluate, train_and_evaluate
from afnet_jax.training.progress import duration, say


class AllGivenUp(RunError):
    """No training of a run came to an end; its summary and report are written."""


def run_experiment(
    config: ConfigDict, workdir: str | Path, *, mode: str = "train", data: FaceDataset | None = None
) -> dict:
    """Trains (or goes on, or evaluates anew), writes summary.json and report.html and tells the result.

    Args:
        config: see `afnet_jax.config`.
        workdir: the run's folder.
        mode: "train", or "evaluate" for the stored checkpoints alone.
        data: the data set, where it is not the one that config.dataset names.

    Returns:
        Content of summary.json. Of several processes the first alone writes and tells.

    Raises:
        AllGivenUp: of every training the numbers stopped being finite.
        AFNetError: see `train_and_evaluate`.
    """
    validate(config)
    processes.join(config.distributed)
    check_gpu()
    # A folder that cannot be used is told now, not after data were made.
    RunFolder(workdir, process=jax.process_index(), processes=jax.process_count()).close()
    if data is None:
        with processes.first_alone("the data set is there"):
            data = load(config.dataset)
    {"train": train_and_evaluate, "evaluate": evaluate}[mode](config, workdir, data)
    run = load_run(workdir)
    summary = summarize(run)
    if jax.process_index() == 0:
        write_summary(run.path, summary)
        write_report(run, data)
        if any(map(any, summary["confusion"])):
            write_picture(run.path, "confusion", to_pixels(confusion_matrices({run.config.variant: run})))
    if not summary["scans"]:
        raise AllGivenUp(
            f"{run.path}: every training was given up, since its loss or gradient was not finite; report.html has "
            f"the curves: lower --config.train.learning_rate, or look the data over (tools/inspect_dataset.py)"
        )
    if jax.process_index() == 0:
        say(_told(summary, run.path))
    return summary


def _told(summary: dict, path: Path) -> str:
    accuracy, size = summary["accuracy"], summary["parameters"]
    if accuracy["mean"] is None:
        return f"{path}: no round is complete; report.html names the trainings given up or unfinished"
    state = "" if summary["complete"] else f" (INCOMPLETE: {len(accuracy['per_round'])} of {summary['rounds']} rounds)"
    spread = f" ± {100 * accuracy['std']:.2f}" if len(accuracy["per_round"]) > 1 else ""
    return (
        f"accuracy {100 * accuracy['mean']:.2f} %{spread} over {len(accuracy['per_round'])} "
        f"round(s) of {summary['folds']} folds, {summary['scans']} scans{state}\n"
        f"parameters {size['mib']:.2f} MiB, counted per call as in Table IV {size['mib_per_call']:.2f} MiB\n"
        f"{duration(summary['seconds']['total'])} of training, {duration(summary['seconds']['compile'])} of it "
        f"compiling; everything is in {path}"
    )
