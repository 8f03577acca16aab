"""All trainings of a run: group after group, from wherever it stopped."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from afnet_jax import protocol
from afnet_jax.config import validate
from afnet_jax.datasets.loading import FaceDataset, load
from afnet_jax.errors import RunError
from afnet_jax.models.compiler_check import check_compiler
from afnet_jax.models.pretrained import load_pretrained
from afnet_jax.paths import user_path
from afnet_jax.training import devices, processes
from afnet_jax.training.checkpoints import Checkpoints
from afnet_jax.training.group import WEIGHTS, GroupTraining, StopRequest, accuracy, filled, names, percent
from afnet_jax.training.group_size import folds_per_group
from afnet_jax.training.plan import Shape, Training, common_shape, fill, groups, lay_out, share, test_batches
from afnet_jax.training.progress import Progress, say
from afnet_jax.training.run_folder import RunFolder, write_arrays_atomically
from afnet_jax.training.step import Trainer


def train_and_evaluate(config: ConfigDict, workdir: str | Path, data: FaceDataset | None = None) -> None:
    """Trains every fold of every round and predicts its test scans; begun before, it goes on where it stopped.

    Leaves config.json, environment.json, splits.json, metrics.jsonl, checkpoints/ and, when all is done,
    predictions.npz in the folder.

    Args:
        config: see `afnet_jax.config`.
        workdir: the run's folder.
        data: the data set, where it is not the one that config.dataset names.

    Raises:
        ConfigError: settings that cannot be run.
        DatasetError: no such data set, or a damaged one.
        RunError: the folder holds another run, or one that is under way.
        Interrupted: stopped by SIGINT or SIGTERM, after saving.
    """
    run = _Run(config, workdir, data)
    try:
        with StopRequest() as stop:
            run.train(stop)
    finally:
        run.folder.close()


def evaluate(config: ConfigDict, workdir: str | Path, data: FaceDataset | None = None) -> None:
    """Predicts the test scans anew from the stored checkpoints, all folds of a group at once, and writes predictions.

    Raises:
        RunError: a training whose weights were not kept, or are damaged.
    """
    run = _Run(config, workdir, data)
    try:
        run.evaluate()
    finally:
        run.folder.close()


class _Run:
    def __init__(self, config: ConfigDict, workdir: str | Path, data: FaceDataset | None):
        validate(config)
        if config.compilation_cache:
            jax.config.update("jax_compilation_cache_dir", str(user_path(config.compilation_cache)))
        check_compiler()
        self.config = config
        self.data = load(config.dataset) if data is None else data
        folds = self._folds()
        self.trainings = lay_out(folds, self.data.subjects)
        self.folder = RunFolder(workdir, process=jax.process_index())
        try:
            self.folder.start(config, folds, self.data.digest)
            steps = common_shape(self.trainings, batch_size=config.train.batch_size, folds_per_group=1).steps
            trainer = Trainer(config, load_pretrained(config.model.pretrained), steps=config.train.epochs * steps)
            self.program = devices.GroupProgram(
                trainer,
                self.data.arrays,
                seed=config.seed,
                folds_per_call=config.train.folds_per_call,
            )
        except BaseException:
            self.folder.close()
            raise

    def _folds(self) -> tuple[protocol.Fold, ...]:
        settings = self.config.protocol
        if settings.splits:
            return protocol.read_splits(settings.splits)
        return protocol.draw_folds(
            protocol.complete_subjects(self.data.subjects, self.data.labels),
            chosen=settings.subjects,
            folds=settings.folds,
            rounds=settings.rounds,
            seed=settings.seed,
            fixed_subjects=settings.fixed_subjects,
        )

    def _shape(self) -> Shape:
        batch = common_shape(self.trainings, batch_size=self.config.train.batch_size, folds_per_group=1).batch
        most = math.ceil(len(self.trainings) / jax.process_count())  # trainings of one process
        size = folds_per_group(
            self.config,
            most,
            batch=batch,
            per_call=self.program.places(1, most),
            data_bytes=sum(array.nbytes for array in self.data.arrays),
        )
        shape = common_shape(self.trainings, batch_size=batch, folds_per_group=size)
        return dataclasses.replace(shape, trainings=size)

    def train(self, stop: StopRequest) -> None:
        mine = share(self.trainings, jax.process_index(), jax.process_count())
        shape = self._shape()
        while True:
            try:
                self._train_groups(self._pending(groups(mine, shape.trainings)), shape, stop)
                break
            except jax.errors.JaxRuntimeError as error:
                if "RESOURCE_EXHAUSTED" not in str(error) or shape.trainings <= jax.local_device_count():
                    raise
                size = max(jax.local_device_count(), shape.trainings // 2)
                say(f"{shape.trainings} trainings side by side do not fit the memory; going on with {size}")
                shape = dataclasses.replace(shape, trainings=size)
        processes.wait_for_all("all trainings are done")
        if jax.process_index() == 0:
            self._gather()
        processes.wait_for_all("predictions are put together")

    def _pending(self, all_groups: Sequence[tuple[Training, ...]]) -> list[tuple[Training, ...]]:
        done = self.folder.finished_trainings()
        left = [tuple(t for t in group if (t.round, t.fold) not in done) for group in all_groups]
        return [group for group in left if group]

    def _train_groups(self, pending: list[tuple[Training, ...]], shape: Shape, stop: StopRequest) -> None:
        epochs = self.config.train.epochs
        if not pending:
            say("all trainings are finished")
            return
        trainings = sum(map(len, pending))
        progress = Progress(trainings * epochs * shape.steps * shape.batch, trainings)
        for number, group in enumerate(pending):
            GroupTraining(
                group,
                shape,
                config=self.config,
                folder=self.folder,
                program=self.program,
                labels=self.data.labels,
                progress=progress,
                profile=self.config.profile if number == 0 else "",
            ).run(stop)

    def _gather(self) -> None:
        """predictions.npz: one row per test scan and round, in the order of rounds, folds and scan ids."""
        parts = self.folder.group_predictions()
        if not parts:
            return
        columns = {name: np.concatenate([part[name] for part in parts]) for name in ("round", "fold", "scan", "logits")}
        order = np.lexsort((columns["scan"], columns["fold"], columns["round"]))
        columns = {name: column[order] for name, column in columns.items()}
        scans = columns.pop("scan")
        write_arrays_atomically(
            self.folder.path / "predictions.npz",
            {
                "round": columns["round"],
                "fold": columns["fold"],
                "subject": self.data.subjects[scans],
                "scan_id": self.data.scan_ids[scans],
                "label": self.data.labels[scans],
                "logits": columns["logits"],
            },
        )

    def evaluate(self) -> None:
        shape = self._shape()
        stored = [c for c in map(Checkpoints, self.folder.checkpoint_folders()) if c.steps()]
        if not stored:
            raise RunError(
                f"{self.folder.path}: holds no checkpoints to evaluate; train first, or keep more weights "
                f"(--config.train.keep_rounds)"
            )
        trainings = {(t.round, t.fold): t for t in self.trainings}
        for number, checkpoints in enumerate(stored, start=1):
            restored = checkpoints.restore_newest()
            assert restored is not None  # it has steps
            arrays, record = restored
            group = [trainings[round_, fold] for round_, fold in record["trainings"]]
            places = self.program.places(len(group), shape.trainings)
            state = self.program.from_arrays({key: filled(arrays[key], places) for key in WEIGHTS})
            logits = self.program.evaluate(state, test_batches(fill(group, places), shape))
            if record["step"] == self.config.train.epochs * shape.steps:
                self.folder.write_group_predictions(group, logits, record["failed"])
            accuracies = [accuracy(rows, self.data.labels[t.test]) for rows, t in zip(logits, group, strict=False)]
            say(f"group {number}/{len(stored)}  {names(group)}  test {percent(accuracies)}")
        self._gather()
