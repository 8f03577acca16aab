"""A data set small enough to train on in seconds, whose expressions are plain to see, and training on it."""

import signal
from pathlib import Path

import numpy as np
import pytest

from afnet_jax.config import default_config
from afnet_jax.datasets.loading import FaceDataset
from afnet_jax.errors import Interrupted
from afnet_jax.maps import Maps
from afnet_jax.runs.folder import RunFolder
from afnet_jax.training import loop
from afnet_jax.training.devices import GroupProgram

SIZE = 32


def make_faces(subjects: int = 6, levels: int = 1, seed: int = 0) -> FaceDataset:
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(subjects), 6 * levels)
    labels = np.tile(np.arange(6, dtype=np.int32), subjects * levels)
    count = len(who)
    depth = rng.normal(0, 3, (count, SIZE, SIZE, 1)).astype(np.float16)
    texture = rng.integers(90, 160, (count, SIZE, SIZE, 3)).astype(np.uint8)
    for scan, label in enumerate(labels):  # a bright, near patch whose place tells the expression
        row, col = 4 + 12 * (label // 3), 2 + 10 * (label % 3)
        depth[scan, row : row + 8, col : col + 8] += 40
        texture[scan, row : row + 8, col : col + 8] += 90
    depth[:, 0] = np.nan
    return FaceDataset(
        Maps(
            texture,
            depth,
            np.ones((count, SIZE // 4, SIZE // 4, 1), np.float16),
            np.ones((count, SIZE // 8, SIZE // 8, 1), np.float16),
        ),
        labels,
        scan_ids=np.array([f"F{s:04d}_{i:04d}" for i, s in enumerate(who)]),
        subjects=np.array([f"F{s:04d}" for s in who]),
        levels=np.full(count, 4),
    )


def make_config(**changes):
    config = default_config("texture")
    with config.unlocked():
        config.dataset.image_size = SIZE
        config.protocol.update(subjects=0, folds=3, rounds=1)
        config.train.update(epochs=2, batch_size=6, checkpoint_minutes=1e6, folds_per_group="3")
        config.update_from_flattened_dict(changes)
    return config


_programs: dict[str, GroupProgram] = {}


def forget_programs() -> None:
    _programs.clear()


def train_and_evaluate(config, workdir: Path, faces: FaceDataset, *, fresh: bool = False) -> None:
    """Trains with the programs that another test has compiled of the same settings and data, or with fresh ones."""

    def program(*arguments, **options) -> GroupProgram:
        key = f"{config.to_json()} {faces.digest} {faces.streamed}"
        if fresh or config.model.start_from or config.model.pretrained != "none":
            return GroupProgram(*arguments, **options)
        if key not in _programs:
            _programs[key] = GroupProgram(*arguments, **options)
        return _programs[key]

    with RunFolder(workdir) as folder:
        loop.train_and_evaluate(config, folder, faces, program=program)


def evaluate(config, workdir: Path, faces: FaceDataset) -> None:
    with RunFolder(workdir) as folder:
        loop.evaluate(config, folder, faces)


def stop_at(faces, folder, step: int, **changes) -> None:
    """Trains until SIGTERM arrives within the given call of the program."""
    real, calls = GroupProgram.train, []

    def terminated(self, *args):
        calls.append(args)
        if len(calls) == step:
            signal.raise_signal(signal.SIGTERM)
        return real(self, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GroupProgram, "train", terminated)
        with pytest.raises(Interrupted, match="run the same command again"):
            train_and_evaluate(make_config(**changes), folder, faces)
