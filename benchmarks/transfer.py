"""Networks against logistic regression on landmarks, on prepared maps of people whom nobody here has drawn.

python -m benchmarks.transfer bosphorus_format.npz --start=pretrained.safetensors --out=transfer

The .npz holds `texture_S`, `depth_S`, `mask1_S` and `mask2_S` (S pixels), `label`, `subject`, `scan_id` and `landmarks`
(N, K, 3). Each round parts the subjects into five folds; networks and baseline see the same. Every arm is a run in a
folder of its own, goes on where it stopped, and is compared with the first arm and with the baseline by the corrected
resampled t-test; "+ landmarks" is network and baseline together (`analysis.baselines.together`). The calibration error
is the expected one after temperature scaling (`analysis.calibration`).
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from afnet_jax import protocol
from afnet_jax.analysis.baselines import predict_folds, together
from afnet_jax.analysis.calibration import run_calibration
from afnet_jax.analysis.reliance import exchanged, inputs_of
from afnet_jax.analysis.run import load_run
from afnet_jax.analysis.significance import compare, corrected_t_test
from afnet_jax.config import default_config, validate
from afnet_jax.datasets.loading import FaceDataset
from afnet_jax.maps import Maps
from afnet_jax.models.network import Network
from afnet_jax.models.starting_weights import load_weights
from afnet_jax.recipes import RECIPES
from afnet_jax.runs.folder import RunFolder
from afnet_jax.training.loop import train_and_evaluate

FOLDS = 5
# Arm -> the recipe that it follows, and whether it starts from pretrained weights.
ARMS = {
    "paper": ("", False),
    "recipe": ("recipe", False),
    "finetune": ("finetune", True),
}


def read_maps(path: Path, size: int) -> tuple[FaceDataset, np.ndarray]:
    """Returns the data set at this size, and (N, 3K) landmarks that all scans have."""
    with np.load(path, allow_pickle=False) as file:
        held = {name: file[name] for name in file}
    maps = Maps(*(held[f"{name}_{size}"] for name in ("texture", "depth", "mask1", "mask2")))
    subjects = held["subject"].astype(str)
    order = np.argsort(held["scan_id"].astype(str))
    data = FaceDataset(
        maps=jax.tree.map(lambda m: m[order], maps),
        labels=held["label"].astype(np.int32)[order],
        scan_ids=held["scan_id"].astype(str)[order],
        subjects=subjects[order],
        levels=np.zeros(len(order), np.int64),
    )
    marks = held["landmarks"].reshape(len(order), -1)[order]
    return data, marks[:, np.isfinite(marks).all(axis=0)]


def draw_folds(subjects: np.ndarray, rounds: int) -> tuple[protocol.Fold, ...]:
    """Returns the folds of the baseline that came with the sets: subject i of a permutation is tested in fold i % 5."""
    names = sorted(set(subjects.tolist()))
    folds = []
    for round_ in range(rounds):
        order = np.random.default_rng(round_).permutation(len(names))
        for fold in range(FOLDS):
            test = tuple(name for i, name in enumerate(names) if order[i] % FOLDS == fold)
            folds.append(protocol.Fold(round_, fold, tuple(sorted(set(names) - set(test))), tuple(sorted(test))))
    return tuple(folds)


def zero_shot(start: Path, data: FaceDataset) -> dict[str, np.ndarray]:
    """By row: (N,) whether the pretrained network alone, with and without its mirror image, tells each scan right.

    The further rows give every scan one input of the scan before it, by id.
    """
    settings = default_config().model
    with settings.unlocked():
        settings.mirror = True
    network = Network(settings)
    shapes = jax.eval_shape(network.init, jax.random.key(0))
    params, stats = Network(settings, load_weights(start)).init(jax.random.key(0))
    assert load_weights(start).fit(*shapes).taken == len(jax.tree.leaves(shapes))
    logits = jax.jit(network.logits)

    def right(maps: Maps) -> np.ndarray:
        rows = [
            np.asarray(logits(params, stats, jax.tree.map(lambda m, k=k: jnp.asarray(m[k : k + 30]), maps)))
            for k in range(0, len(data.labels), 30)
        ]
        return np.concatenate(rows).argmax(-1) == data.labels

    before = np.roll(np.arange(len(data.labels)), 1)
    others = inputs_of(settings.modalities).items()
    return {"zero-shot": right(data.maps)} | {
        f"another's {name}": right(exchanged(data.maps, inputs, before)) for name, inputs in others
    }


def config_of(arm: str, size: int, splits: Path, start: Path | None, changes: dict[str, Any]):
    """Returns the settings of an arm, NAME[:VARIANT][/FIELD=VALUE]… with a name in ARMS."""
    name, *own_changes = arm.split("/")
    name, _, variant = name.partition(":")
    recipe, starts = ARMS[name]
    config = default_config(variant or "afnet")
    with config.unlocked():
        config.dataset.image_size = size
        config.protocol.splits = str(splits)
        config.train.keep_rounds = 0
        config.train.evaluate_every = 1000
        config.update_from_flattened_dict({k: v for k, v in RECIPES.get(recipe, {}).items() if "dataset" not in k})
        config.update_from_flattened_dict(changes | _changes(own_changes))
        if starts:
            config.model.start_from = str(start)
    validate(config)
    return config


def _changes(pairs: list[str]) -> dict[str, Any]:
    return {name: json.loads(value) for name, value in (pair.split("=", 1) for pair in pairs)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("maps", type=Path, help=".npz of prepared maps")
    parser.add_argument("--start", type=Path, help="pretrained weights (.safetensors)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs and transfer.json")
    parser.add_argument("--arms", default="recipe,finetune", help=f"some of {', '.join(ARMS)}, each with a colon and a "
                        "variant, with slashes and changes if you like (finetune:texture/train.flip=false); others are "
                        "compared with the first")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=3, help="rounds of five folds, each with seeds of its own")
    parser.add_argument("--size", type=int, default=64, help="edge of the images, pixels")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="changes every arm's config")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    data, marks = read_maps(arguments.maps, arguments.size)
    folds = draw_folds(data.subjects, arguments.rounds)
    splits = arguments.out / "splits.json"
    splits.write_text(protocol.to_json(folds), encoding="utf-8")
    linear = predict_folds(marks, data, folds)
    of_marks = accuracies(linear, folds)
    rows = {"landmarks": _row(of_marks, folds)}
    if arguments.start:  # before anything is trained: what they know already
        for name, right in zero_shot(arguments.start, data).items():
            of_fold = np.array([right[np.isin(data.subjects, fold.test)].mean() for fold in folds])
            rows[name] = {"accuracy": float(right.mean()), "per_round": [float(right.mean())]}
            rows[name]["standard_error"] = float(of_fold[:FOLDS].std(ddof=1) / FOLDS**0.5)  # over subjects
    _print(rows)
    runs = {}
    for arm in arguments.arms.split(","):
        config = config_of(arm, arguments.size, splits, arguments.start, _changes(arguments.set))
        place = arguments.out / re.sub("[:/]", "-", arm)
        with RunFolder(place) as folder:
            train_and_evaluate(config, folder, data)
        runs[arm] = load_run(place)
        own = accuracies(runs[arm].predictions, folds)
        rows[arm] = _row(own, folds)
        rows[arm]["calibration_error"] = calibration_error(runs[arm], arguments.rounds)
        rows[arm]["against_landmarks"] = _test(own - of_marks, folds)
        joint = accuracies(together(runs[arm].predictions, linear, range(arguments.rounds)), folds)
        rows[f"{arm} + landmarks"] = _row(joint, folds) | {"against_landmarks": _test(joint - of_marks, folds)}
        if len(runs) > 1:
            first = next(iter(runs))
            rows[arm][f"against_{first}"] = _plain(compare(runs[arm], runs[first]).t_test)
        (arguments.out / "transfer.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        _print(rows)


def accuracies(rows: dict[str, np.ndarray], folds: tuple[protocol.Fold, ...]) -> np.ndarray:
    """(folds,) accuracy of predictions, columns of predictions.npz, in each of the folds."""
    right = rows["logits"].argmax(-1) == rows["label"]
    return np.array([right[(rows["round"] == f.round) & (rows["fold"] == f.fold)].mean() for f in folds])


def calibration_error(run, rounds: int) -> float:
    """The expected calibration error, each fold's logits divided by a temperature fitted on the others."""
    return run_calibration(run.predictions, range(rounds))["scaled"]["ece"]


def _row(per_fold: np.ndarray, folds: tuple[protocol.Fold, ...]) -> dict[str, Any]:
    weights = np.array([len(fold.test) for fold in folds], float).reshape(-1, FOLDS)
    per_round = (per_fold.reshape(-1, FOLDS) * weights).sum(1) / weights.sum(1)
    error = per_round.std(ddof=1) / len(per_round) ** 0.5 if len(per_round) > 1 else None
    return {"accuracy": per_round.mean(), "standard_error": error, "per_round": per_round.tolist()}


def _test(differences: np.ndarray, folds: tuple[protocol.Fold, ...]) -> dict[str, Any]:
    ratio = np.array([len(fold.test) / len(fold.train) for fold in folds])
    return _plain(corrected_t_test(differences, ratio))


def _plain(test) -> dict[str, Any]:
    return {"difference": test.effect, "interval": list(test.interval), "p": test.p}


def _print(rows: dict[str, Any]) -> None:
    for name, row in rows.items():
        error = row.get("standard_error")
        line = f"{name:20s} {row['accuracy']:.3f}" + ("" if error is None else f" ± {error:.3f}")
        for key, test in row.items():
            if key.startswith("against_"):
                line += f"   {key.replace('_', ' ')} {test['difference']:+.3f} (p {test['p']:.3f})"
        if "calibration_error" in row:
            line += f"   calibration error {row['calibration_error']:.3f}"
        print(line, flush=True)


if __name__ == "__main__":
    main()
