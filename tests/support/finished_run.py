"""A finished run of AFNet-M without training: weights, scans and predictions from a formula."""

import json
from collections.abc import Collection, Sequence
from pathlib import Path

import jax
import numpy as np

from afnet_jax.analysis import load_run
from afnet_jax.analysis.summary import summarize
from afnet_jax.config import default_config
from afnet_jax.datasets.loading import FaceDataset
from afnet_jax.maps import Maps
from afnet_jax.models.network import Network
from afnet_jax.protocol import Fold, folds_of
from afnet_jax.runs.checkpoints import EpochRows
from afnet_jax.runs.folder import RunFolder
from afnet_jax.runs.predictions import write_predictions
from afnet_jax.training.plan import lay_out
from tests.support import named_values

SIZE, SUBJECTS, FOLDS = 64, 6, 2


def make_faces() -> FaceDataset:
    *maps, labels = named_values.scans(SIZE, 6 * SUBJECTS)
    who = np.repeat([f"F{k:04d}" for k in range(1, SUBJECTS + 1)], 6)
    codes = np.array(["AN", "DI", "FE", "HA", "SA", "SU"])[labels]
    return FaceDataset(
        Maps(maps[0], maps[1], maps[2].astype(np.float16), maps[3].astype(np.float16)),
        labels,
        scan_ids=np.array([f"{s}_{code}04WH" for s, code in zip(who, codes, strict=True)]),
        subjects=who,
        levels=np.full(len(who), 4),
    )


def make_config(variant: str = "afnet", **changes):
    config = default_config(variant)
    with config.unlocked():
        config.dataset.image_size = SIZE
        config.protocol.update(subjects=0, folds=FOLDS, rounds=2)
        config.train.update(epochs=3, batch_size=8)
        config.update_from_flattened_dict(changes)
    return config


def write_run(
    folder: Path,
    faces: FaceDataset,
    config,
    *,
    skill: float = 1.5,
    seed: int = 0,
    weights: bool = False,
    splits: Sequence[Fold] | None = None,
    given_up: Collection[tuple[int, int]] = (),
) -> Path:
    """A finished run whose predictions are right the more often, the greater the skill.

    Args:
        folder, faces, config: where it lies, what it was trained on, its settings.
        skill, seed: of the predictions.
        weights: write a checkpoint of round 0.
        splits: its folds; drawn as config.protocol says by default.
        given_up: (round, fold) of trainings whose numbers stopped being finite: they predict nothing.
    """
    protocol = config.protocol
    folds = splits or folds_of(protocol, faces.subjects, faces.labels)
    trainings = lay_out(folds, faces.subjects)
    holder = RunFolder(folder)
    holder.start(config, folds, faces.digest)
    rng = np.random.default_rng(seed)
    rows = {"round": [], "fold": [], "subject": [], "scan_id": [], "label": [], "logits": []}
    for round_ in sorted({f.round for f in folds}):
        of_round = [f.fold for f in folds if f.round == round_]
        for epoch in range(config.train.epochs):
            line = {"round": round_, "epoch": epoch, "folds": of_round, "seconds": 1.25, "compile_seconds": 0.5}
            for name in ("loss", "gradient_norm", "train_accuracy", "test_accuracy"):
                values = rng.uniform(0.3, 0.9, len(of_round)).tolist()
                line[name] = [None if (round_, f) in given_up else v for f, v in zip(of_round, values, strict=True)]
            holder.metrics.append([line])
    for training in trainings:
        if (training.round, training.fold) in given_up:
            continue
        labels = faces.labels[training.test]
        rows["round"] += [training.round] * len(labels)
        rows["fold"] += [training.fold] * len(labels)
        rows["subject"] += faces.subjects[training.test].tolist()
        rows["scan_id"] += faces.scan_ids[training.test].tolist()
        rows["label"] += labels.tolist()
        rows["logits"] += (rng.normal(size=(len(labels), 6)) + skill * np.eye(6)[labels]).astype(np.float32).tolist()
    columns = {name: np.array(rows[name], np.float32 if name == "logits" else None) for name in rows}
    write_predictions(folder, columns)
    group = [t for t in trainings if t.round == 0]
    if weights:
        lost = [k for k, t in enumerate(group) if (t.round, t.fold) in given_up]
        epochs = EpochRows(config.train.epochs)
        holder.checkpoints().save([t.key for t in group], _weights(config, len(group), lost), epochs, {}, step=9)
    holder.close()
    (folder / "summary.json").write_text(json.dumps(summarize(load_run(folder)), indent=1))
    return folder


def _weights(config, count: int, lost: Sequence[int]) -> dict:
    """Random weights, folds stacked; every fold's are others, and those of lost ones NaN."""
    params, batch_stats = jax.eval_shape(Network(config.model).init, jax.random.key(0))

    def make(path, leaf):
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        # Smaller where sigmoid and softmax would otherwise saturate and hide differences.
        scale = 0.2 if name.startswith(("head.", "importance_weights.")) else 1
        stacked = np.stack([scale * named_values.tensor(f"fold{k}.{name}", leaf.shape) for k in range(count)])
        stacked[lost] = np.nan
        return stacked

    parts = {"params": params, "batch_stats": batch_stats}
    return {name: jax.tree_util.tree_map_with_path(make, part) for name, part in parts.items()}


def splits_of(*rounds: Sequence[tuple[str, str]]) -> tuple[Fold, ...]:
    """Folds from the last digits of the subjects F0001 to F0006: splits_of([("1234", "56")]) is one hold-out."""
    ids = lambda digits: tuple(f"F000{digit}" for digit in digits)  # noqa: E731
    return tuple(
        Fold(r, k, ids(train), ids(test)) for r, folds in enumerate(rounds) for k, (train, test) in enumerate(folds)
    )


def fold_maps(faces: FaceDataset, count: int = 3) -> Maps:
    """(FOLDS, count, …) maps: other scans for each fold."""
    return jax.tree.map(lambda m: m[: FOLDS * count].reshape(FOLDS, count, *m.shape[1:]), faces.maps)


def fold_labels(faces: FaceDataset, count: int = 3) -> np.ndarray:
    """(FOLDS, count) labels of `fold_maps`."""
    return faces.labels[: FOLDS * count].reshape(FOLDS, count)


def repeated(maps: Maps) -> Maps:
    """(FOLDS, N, …) maps: the same scans for each fold."""
    return jax.tree.map(lambda m: np.stack([m] * FOLDS), maps)
