"""All trainings of a run, group after group, from where it stopped."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import jax
from absl import logging
from ml_collections import ConfigDict

from afnet_jax import protocol
from afnet_jax.datasets.loading import FaceDataset
from afnet_jax.errors import RunError
from afnet_jax.models.network import Network
from afnet_jax.models.pretrained import PretrainedTrunk, load_pretrained
from afnet_jax.models.starting_weights import StartingWeights
from afnet_jax.runs.checkpoints import WEIGHTS, DamagedCheckpoint
from afnet_jax.runs.folder import RunFolder
from afnet_jax.runs.predictions import GroupPredictions, pool, write_predictions
from afnet_jax.runs.start import load_start, seen_before
from afnet_jax.training import devices, processes
from afnet_jax.training.group import GroupTraining, StopRequest, accuracies, filled, names, percent, without_predictions
from afnet_jax.training.group_size import folds_per_group
from afnet_jax.training.plan import Training, common_shape, fill, lay_out, next_group, share, test_batches
from afnet_jax.training.progress import Progress, say
from afnet_jax.training.saving import Saving
from afnet_jax.training.step import Trainer


def train_and_evaluate(
    config: ConfigDict,
    folder: RunFolder,
    data: FaceDataset,
    *,
    program: Callable[..., devices.GroupProgram] = devices.GroupProgram,
) -> None:
    """Trains every fold of every round and predicts its test scans; resumes a run that was stopped.

    Leaves config.json, environment.json, splits.json, metrics.jsonl, checkpoints/ and, when all is done,
    predictions.npz in the folder.

    Args:
        config: valid settings, see `afnet_jax.config`.
        folder: of the run.
        data: the data set.
        program: what computes; another one where saving and not computing is measured.

    Raises:
        ConfigError: settings that do not go with this data set.
        RunError: the folder holds another run.
        Interrupted: stopped by SIGINT or SIGTERM, after saving.
    """
    start = load_start(config.model.start_from)
    pretrained = None if start else load_pretrained(config.model.pretrained)
    run = _Run(config, folder, data, program, start, pretrained)
    with StopRequest() as stop:
        run.train(stop)
        stop.obey(folder.path)  # it may have come after the last step, and the caller may have more to run


def evaluate(config: ConfigDict, folder: RunFolder, data: FaceDataset) -> None:
    """Predicts the test scans anew from the stored checkpoints, all folds of a group at once, and writes predictions.

    Raises:
        RunError: none of the run's weights were kept.
    """
    _Run(config, folder, data).evaluate()


class _Run:
    def __init__(
        self,
        config: ConfigDict,
        folder: RunFolder,
        data: FaceDataset,
        program: Callable[..., devices.GroupProgram] = devices.GroupProgram,
        start: StartingWeights | None = None,
        pretrained: PretrainedTrunk | None = None,
    ):
        self.config, self.folder, self.data = config, folder, data
        folds = protocol.folds_of(config.protocol, data.subjects, data.labels)
        self.trainings = lay_out(folds, self.data.subjects)
        record = None if start is None else self._record_of_start(start, folds)
        with processes.first_alone("the run's settings are stored"):  # for the others to compare with theirs
            folder.start(config, folds, data.digest, record, None if pretrained is None else pretrained.sha256)
        self.shape = common_shape(self.trainings, config.train.batch_size)
        if self.shape.batch < config.train.batch_size:
            say(
                f"train.batch_size={config.train.batch_size} is lowered to {self.shape.batch}: "
                f"the smallest fold has no more scans to train on"
            )
        steps = config.train.epochs * self.shape.steps
        self.program = program(
            Trainer(config, start or pretrained, steps=steps),
            data.faces,
            seed=config.seed,
            folds_per_call=config.train.folds_per_call,
            streamed=data.streamed,
        )

    def _record_of_start(self, start: StartingWeights, folds: Sequence[protocol.Fold]) -> dict:
        """Tells what of the starting weights this run's network takes and whom they have seen; returns the record."""
        shapes = jax.eval_shape(Network(self.config.model).init, jax.random.key(0))
        fit = start.fit(*shapes)
        say(f"starting from {start.source} (SHA-256 {start.sha256[:12]}…): {fit}")
        seen = seen_before(start, self.config.dataset, folds)
        for line in seen:
            logging.warning("%s", line)
        told = {"source": start.source, "sha256": start.sha256, **dataclasses.asdict(fit), "seen_before": seen}
        return told | {"record": dict(start.record)}  # for those who test this run on people of the other one's

    def _group_size(self) -> int:
        most = math.ceil(len(self.trainings) / jax.process_count())  # trainings of one process
        return folds_per_group(
            self.config,
            most,
            batch=self.shape.batch,
            per_call=self.program.places(1, most),
            data_bytes=self.program.data.device_bytes,
        )

    def train(self, stop: StopRequest) -> None:
        with processes.first_alone("the run's folder is in order"):
            if jax.process_index() == 0:
                self._put_in_order()
        mine = share(self.trainings, jax.process_index(), jax.process_count())
        saving = Saving(self.folder, [t.key for t in mine], self.config.train.checkpoint_minutes)
        try:
            self._train_all(mine, saving, stop)
            saving.wait()
        finally:
            saving.close()
        processes.wait_for_all("all trainings are done", lambda: stop.obey(self.folder.path))
        if jax.process_index() == 0:
            self._gather(self.folder.group_predictions())
            self.folder.gather_metrics()
            self.folder.checkpoints().drop_superseded({t.key for t in self.trainings})
        processes.wait_for_all("predictions are put together")

    def _put_in_order(self) -> None:
        """Removes metrics of epochs that will be trained again, and what interrupted writes left."""
        self.folder.tidy()
        checkpoints = self.folder.checkpoints()
        reached = {t.key: checkpoints.reached(t.key).epoch for t in self.trainings}
        done = {key for part in self.folder.group_predictions() for key in part.trainings}
        self.folder.gather_metrics(reached | dict.fromkeys(done, self.config.train.epochs))

    def _train_all(self, mine: Sequence[Training], saving: Saving, stop: StopRequest) -> None:
        size, devices = self._group_size(), jax.local_device_count()
        while True:
            try:
                return self._train_groups([t for t in mine if t.key not in saving.done], size, saving, stop)
            except jax.errors.JaxRuntimeError as error:
                if "RESOURCE_EXHAUSTED" not in str(error):
                    raise
                saving.wait()
                if size <= devices:
                    raise RunError(_does_not_fit(self.config)) from error
                too_many, size = size, devices * max(1, size // 2 // devices)  # an equal share for each device
                say(f"{too_many} trainings side by side do not fit the memory; going on with {size}")

    def _train_groups(self, pending: list[Training], size: int, saving: Saving, stop: StopRequest) -> None:
        if not pending:
            say("all trainings are finished")
            return
        progress = Progress(len(pending) * self.config.train.epochs * self.shape.steps * self.shape.batch, len(pending))
        profile = self.config.profile
        while pending:
            group = next_group(pending, saving.checkpoints.reached, size)
            try:
                restored = saving.checkpoints.restore([t.key for t in group])
            except DamagedCheckpoint as damaged:
                saving.checkpoints.pass_over(damaged, [t.key for t in pending])
                continue
            training = GroupTraining(
                group,
                group_size=size,
                shape=self.shape,
                config=self.config,
                saving=saving,
                program=self.program,
                labels=self.data.labels,
                progress=progress,
                profile=profile,
            )
            training.run(restored, stop)
            taken = {t.key for t in group}
            pending = [t for t in pending if t.key not in taken]
            profile = ""

    def _gather(self, parts: list[GroupPredictions]) -> None:
        """predictions.npz: one row per test scan and round, in the order of rounds, folds and scan ids."""
        if not parts:
            return
        columns = pool(parts)
        scans = columns["scan"]
        write_predictions(
            self.folder.path,
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
        """Predicts, in the first of several processes alone."""
        if jax.process_index() == 0:
            self._evaluate_all()
        processes.wait_for_all("predictions are made anew")

    def _evaluate_all(self) -> None:
        size, checkpoints = self._group_size(), self.folder.checkpoints()
        stored = [t for t in self.trainings if t.key in checkpoints.trainings()]
        if not stored:
            raise RunError(
                f"{self.folder.path}: holds no checkpoints to evaluate; train first, or keep more weights "
                f"(--config.train.keep_rounds)"
            )
        parts, count = [], 0
        while stored:
            group = next_group(stored, checkpoints.reached, size)
            try:
                restored = checkpoints.restore([t.key for t in group])
            except DamagedCheckpoint as damaged:
                logging.warning("%s; the predictions of these trainings stay as they are", damaged)
                stored = [t for t in stored if t.key not in damaged.checkpoint.trainings]
                continue
            assert restored is not None  # they are stored
            arrays, epoch, failed = restored
            places = self.program.places(len(group), size)
            weights = arrays.get("average") or arrays  # of what is under way the mean is tested, too
            state = self.program.from_arrays({name: filled(weights[name], places) for name in WEIGHTS})
            logits = self.program.evaluate(state, test_batches(fill(group, places), self.shape))
            failed |= without_predictions(group, logits, failed, {"epoch": epoch.number, "step": epoch.step})
            if epoch.number == self.config.train.epochs:
                parts.append(GroupPredictions.of([t.key for t in group], [t.test for t in group], logits, failed))
            known = [each for each in accuracies(group, logits, self.data.labels) if each is not None]
            taken = {t.key for t in group}
            stored, count = [t for t in stored if t.key not in taken], count + 1
            say(f"group {count}  {names(group)}  test {percent(known) if known else 'not finite'}")
        self._gather([*parts, *self.folder.group_predictions()])


def _does_not_fit(config: ConfigDict) -> str:
    return (
        f"a single training of batches of {config.train.batch_size} images of {config.dataset.image_size} pixels does "
        f"not fit the device's memory; lower --config.train.batch_size or --config.dataset.image_size, in a "
        f"--workdir of its own, or free the device of other processes"
    )
