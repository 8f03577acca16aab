"""Tells which inputs a run's networks rest on: how often they are right where one of these is another face's.

By permutation (Breiman 2001; "model reliance", Fisher, Rudin & Dominici 2019): an input that tells nothing can be
exchanged at no cost. Accuracy alone cannot show it: where the masks of eq. 1 tell the expression, as shapes drawn by
landmarks do, a network may be right with any image.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import numpy as np

from afnet_jax.analysis.countdown import Countdown
from afnet_jax.analysis.metrics import tested_folds
from afnet_jax.analysis.run import Run
from afnet_jax.datasets.loading import FaceDataset
from afnet_jax.errors import RunError
from afnet_jax.maps import INPUT_MAPS, Maps

UNCHANGED = "nothing exchanged"
_AT_ONCE = 32  # scans of one call


def inputs_of(modalities: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Returns what is exchanged, by name: each modality, all of them if there are more, and the masks."""
    groups: dict[str, tuple[str, ...]] = {name: (name,) for name in modalities}
    if len(modalities) > 1:
        groups["all images"] = tuple(modalities)
    return groups | {"masks": tuple(name for name, each in INPUT_MAPS.items() if each.scale < 1)}


def exchanged(maps: Maps, names: Sequence[str], order: np.ndarray) -> Maps:
    """(N, …) maps, those of these names in another order of the scans."""
    return maps._replace(**{name: getattr(maps, name)[order] for name in names})


def rests_on(run: Run, data: FaceDataset, *, round: int = 0, seed: int = 0) -> dict[str, float]:
    """Tests a round's networks on their own test scans, as they are and with inputs of one another.

    Args:
        run: finished, with this round's weights.
        data: its data set.
        round: whose networks.
        seed: of the orders, one for each fold.

    Returns:
        UNCHANGED and each name of `inputs_of` -> accuracy. A scan gets the input of a random test scan of its
        fold, which shows the same expression one time in six.

    Raises:
        RunError: the weights are not there, or no training of the round has a result.
    """
    logits = jax.jit(run.network.logits)
    groups: dict[str, tuple[str, ...]] = {UNCHANGED: (), **inputs_of(run.config.model.modalities)}
    right: dict[str, list[np.ndarray]] = {name: [] for name in groups}
    tested = tested_folds(run.predictions)  # trainings that were given up have no finite weights
    folds = [fold for fold in run.splits if fold.round == round and (round, fold.fold) in tested]
    if not folds:
        raise RunError(f"{run.path}: no training of round {round} has a result; all were given up or are not finished")
    counted = Countdown("inputs exchanged, networks", len(folds))
    for fold in folds:
        params, batch_stats = (
            jax.tree.map(lambda leaf: leaf[0], part) for part in run.stacked_weights(round, [fold.fold])
        )
        scans = np.flatnonzero(np.isin(data.subjects, fold.test))
        maps = jax.tree.map(lambda column, scans=scans: column[scans], data.maps)
        order = np.random.default_rng([seed, round, fold.fold]).permutation(len(scans))
        for name, inputs in groups.items():
            seen = exchanged(maps, inputs, order)
            rows = [logits(params, batch_stats, part) for part in _parts(seen, len(scans))]
            guess = np.concatenate(rows)[: len(scans)].argmax(-1)
            right[name].append(guess == data.labels[scans])
        counted.add(1)
    return {name: float(np.concatenate(parts).mean()) for name, parts in right.items()}


def _parts(maps: Maps, count: int):
    """Yields (_AT_ONCE, …) maps, the last of them filled up with the last scan, so that one program serves all."""
    for start in range(0, count, _AT_ONCE):
        chosen = np.minimum(np.arange(start, start + _AT_ONCE), count - 1)
        yield jax.tree.map(lambda column, chosen=chosen: column[chosen], maps)


def told(found: dict[str, float]) -> str:
    """Returns in a sentence what exchanging each input leaves of the accuracy."""
    shares = [f"{100 * share:.1f} % ({name})" for name, share in found.items() if name != UNCHANGED]
    return f"With an input of another face the networks' {100 * found[UNCHANGED]:.1f} % become {', '.join(shares)}."
