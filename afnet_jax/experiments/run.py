"""One run: its settings validated, its data loaded and its folder opened once, trained, scored and reported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import jax
from ml_collections import ConfigDict

from afnet_jax.analysis.baselines import are_of, run_baselines
from afnet_jax.analysis.figures import confusion_matrices, to_pixels
from afnet_jax.analysis.report import write_report
from afnet_jax.analysis.run import Run, load_run
from afnet_jax.analysis.summary import summarize
from afnet_jax.compiler import check_compiler
from afnet_jax.config import validate
from afnet_jax.datasets.colours import without_colours
from afnet_jax.datasets.loading import FaceDataset, load
from afnet_jax.errors import ConfigError, DatasetError, RunError
from afnet_jax.gpu import check_gpu
from afnet_jax.paths import user_path
from afnet_jax.runs.folder import RunFolder, is_run_folder, write_baselines, write_summary
from afnet_jax.runs.start import locate_start
from afnet_jax.runs.tensorboard import write_picture
from afnet_jax.training import processes
from afnet_jax.training.group_size import data_room
from afnet_jax.training.loop import evaluate, train_and_evaluate
from afnet_jax.training.progress import duration, say

_FOLDS_COMPARED = 20  # with linear models, at the end of a run: a few seconds


class AllGivenUp(RunError):
    """No training of a run came to an end.

    Attributes:
        run: its summary and report are written.
    """

    def __init__(self, run: Run):
        super().__init__(
            f"{run.path}: every training was given up, since its loss, gradient or predictions were not finite; "
            f"report.html has the curves: lower --config.train.learning_rate, or look the data over (afnet inspect)"
        )
        self.run = run


def run_experiment(
    config: ConfigDict, workdir: str | Path, *, mode: str = "train", data: FaceDataset | None = None
) -> Run:
    """Trains, resumes or re-evaluates one run, from its config to its report.

    Args:
        config: see `afnet_jax.config`.
        workdir: the run's folder.
        mode: "train", or "evaluate" for the stored checkpoints alone.
        data: the data set, where it is not the one that config.dataset names.

    Returns:
        The finished run.

    Raises:
        AllGivenUp: of every training the numbers stopped being finite.
        AFNetError: settings that cannot be run, no such data set, or as `run_in`.
    """
    validate(config)
    make_ready(config)
    # One that cannot be used is told now, not after data were made.
    with open_folder(workdir, begun=mode == "evaluate") as folder:
        return run_in(folder, config, load_data(config) if data is None else data, mode=mode)


def make_ready(config: ConfigDict) -> None:
    """Joins the run's other processes, and makes sure that what is named is there and that JAX computes what it should.

    Raises:
        AFNetError: a process or a device that cannot be used, no weights to start from, or the profile's folder cannot
            be made.
    """
    locate_start(config.model.start_from)  # told now, not after data were made
    if config.profile:
        _make_profile_folder(config.profile)
    processes.join(config.distributed)
    check_gpu()
    if config.compilation_cache:
        jax.config.update("jax_compilation_cache_dir", str(user_path(config.compilation_cache)))
    check_compiler()


def _make_profile_folder(given: str) -> None:
    try:
        user_path(given).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        told = f"profile={given}: cannot be written to ({error.strerror}); give another --config.profile"
        raise ConfigError(told) from None


def open_folder(workdir: str | Path, *, begun: bool = False) -> RunFolder:
    """Returns a run's folder, held by this process until it is closed.

    Args:
        workdir: the folder.
        begun: whether it must hold a run; a new one is then not made.

    Raises:
        RunError: another process works in it, it cannot be written to, or the run is not there.
    """
    if begun and not is_run_folder(user_path(workdir)):
        raise RunError(f"{workdir}: no run here (no config.json); give the folder that a run had as --workdir")
    return RunFolder(workdir, process=jax.process_index(), processes=jax.process_count())


def load_data(config: ConfigDict) -> FaceDataset:
    """Loads the data set that config.dataset names, the first process before the others, who find it made.

    Raises:
        DatasetError: no such data set, or a damaged one.
    """
    with processes.first_alone("the data set is there"):
        return load(config.dataset, config.model.modalities, room=data_room())


def run_in(folder: RunFolder, config: ConfigDict, data: FaceDataset, *, mode: str = "train") -> Run:
    """Trains, resumes or re-evaluates a run, writes summary.json and report.html and prints the result.

    Args:
        folder: of the run.
        config: valid settings.
        data: the data set.
        mode: see `run_experiment`.

    Returns:
        The finished run. Of several processes the first alone writes and tells.

    Raises:
        AllGivenUp: of every training the numbers stopped being finite.
        AFNetError: see `train_and_evaluate`.
    """
    if "texture" in config.model.modalities and len(grey := without_colours(data)):
        raise DatasetError(
            f"{config.dataset.name}: {len(grey)} scans have no colours, the first {grey[0]}, and the network sees the "
            f"texture; train the variant depth (a colon and its name after --config), or prepare the others alone"
        )
    {"train": train_and_evaluate, "evaluate": evaluate}[mode](config, folder, data)
    run = load_run(folder.path)
    summary = summarize(run)
    with processes.first_alone("everything is written"):  # the others would be ended for leaving it
        if jax.process_index() == 0:
            write_summary(run.path, summary)
            _compare_with_linear_models(run, data)
            write_report(run, data)
            if any(map(any, summary["confusion"])):
                write_picture(run.path, "confusion", to_pixels(confusion_matrices({run.config.variant: run})))
    if not summary["scans"]:
        raise AllGivenUp(run)
    if jax.process_index() == 0:
        say(_result(summary, run.path, run.seen_before))
    return run


def _compare_with_linear_models(run: Run, data: FaceDataset) -> None:
    """Brings baselines.json up to date: on rounds of some 20 folds, or on as many as were compared before."""
    if not run.summary["accuracy"]["per_round"]:
        return
    if data.streamed:
        say("the data set is streamed: no linear models are fitted beside the run; afnet compare does it where wanted")
        return
    most_rounds = max(1, _FOLDS_COMPARED // run.summary["folds"])
    try:
        stored = run.baselines
    except RunError:  # damaged: it is made anew
        stored = None
    if stored is None or not are_of(stored, run):
        write_baselines(
            run.path, run_baselines(run, data, most_rounds=len(stored["rounds"]) if stored else most_rounds)
        )


def _result(summary: dict, path: Path, seen_before: Sequence[str] = ()) -> str:
    """The lines that tell how a run ended."""
    accuracy, size = summary["accuracy"], summary["parameters"]
    if accuracy["mean"] is None:
        return f"{path}: no round is complete; report.html names the trainings given up or unfinished"
    state = "" if summary["complete"] else f" (INCOMPLETE: {len(accuracy['per_round'])} of {summary['rounds']} rounds)"
    spread = f" ± {100 * accuracy['std']:.2f}" if len(accuracy["per_round"]) > 1 else ""
    seen = "".join(f"{line}\n" for line in seen_before)
    return (
        f"{seen}accuracy {100 * accuracy['mean']:.2f} %{spread} over {len(accuracy['per_round'])} "
        f"round(s) of {summary['folds']} folds, {summary['scans']} scans{state}\n"
        f"parameters {size['mib']:.2f} MiB, counted per call as in Table IV {size['mib_per_call']:.2f} MiB\n"
        f"{duration(summary['seconds']['total'])} of training, {duration(summary['seconds']['compile'])} of it "
        f"compiling; everything is in {path}"
    )
