"""Accuracy as the protocol has it (section III-A): pooled over a round's folds, then averaged over rounds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from afnet_jax.errors import RunError
from afnet_jax.protocol import Fold
from afnet_jax.scans.scan import EXPRESSION_CODES, EXPRESSIONS


def complete_rounds(predictions: dict[str, np.ndarray], splits: Sequence[Fold]) -> list[int]:
    """Rounds all of whose subjects have been tested, each in the fold that the splits say.

    Args:
        predictions: columns of predictions.npz.
        splits: every fold of the run.

    Raises:
        RunError: a scan tested twice in a round, or a subject in a fold that the splits do not say.
    """
    rounds = sorted({fold.round for fold in splits})
    complete = []
    for round_ in rounds:
        rows = predictions["round"] == round_
        scans, counts = np.unique(predictions["scan_id"][rows], return_counts=True)
        if (counts > 1).any():
            raise RunError(
                f"predictions of round {round_}: scan {scans[counts > 1][0]} is tested {counts.max()} times, "
                f"expected once; evaluate the run again (--mode=evaluate)"
            )
        expected = {(fold.fold, subject) for fold in splits if fold.round == round_ for subject in fold.test}
        found = set(zip(predictions["fold"][rows].tolist(), predictions["subject"][rows].tolist(), strict=True))
        if unknown := found - expected:
            fold, subject = min(unknown)
            raise RunError(f"predictions of round {round_}: splits.json does not test {subject} in fold {fold}")
        if found == expected:
            complete.append(round_)
    return complete


def tested_folds(predictions: dict[str, np.ndarray]) -> set[tuple[int, int]]:
    """(round, fold) of every training with predictions; those that were given up have none."""
    return set(zip(predictions["round"].tolist(), predictions["fold"].tolist(), strict=True))


def why_incomplete(predictions: dict[str, np.ndarray], folds: Sequence[Fold]) -> str:
    """Names those of these folds that have no predictions, and says what to do about them."""
    tested = tested_folds(predictions)
    missing = [f"round {fold.round} fold {fold.fold}" for fold in folds if (fold.round, fold.fold) not in tested]
    named = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
    return (
        f"no predictions of {named}; start the run again to go on, or, where a training was given up (its numbers "
        f"stopped being finite), take a complete round, or train anew with a lower --config.train.learning_rate"
    )


def score(predictions: dict[str, np.ndarray], rounds: Sequence[int]) -> dict:
    """Accuracies and confusions over complete rounds, re-scored from the pooled predictions.

    Args:
        predictions: columns of predictions.npz.
        rounds: see `complete_rounds`.

    Returns:
        "accuracy": {"mean", "std" over rounds, "per_round", "per_fold"}, fractions, in the order of `rounds`;
        "confusion": 6×6 counts, rows the true expression; "per_class": {code: {"expression", "precision", "recall",
        "f1", "scans"}}. "std" is the sample standard deviation (n - 1 in the denominator), 0 for a single round.
        Without a complete round mean and std are None and nothing is counted.
    """
    labels = np.arange(len(EXPRESSIONS))
    if not rounds:
        return {
            "accuracy": {"mean": None, "std": None, "per_round": [], "per_fold": []},
            "confusion": np.zeros((6, 6), int).tolist(),
            "per_class": {},
        }
    chosen = np.isin(predictions["round"], rounds)
    truth, guess = predictions["label"][chosen], predictions["logits"][chosen].argmax(-1)
    round_of, fold_of = predictions["round"][chosen], predictions["fold"][chosen]
    right = truth == guess
    per_round = [float(right[round_of == r].mean()) for r in rounds]
    per_fold = [
        [float(right[(round_of == r) & (fold_of == f)].mean()) for f in np.unique(fold_of[round_of == r])]
        for r in rounds
    ]
    confusion = confusion_matrix(truth, guess, labels=labels)
    precision, recall, f1, support = precision_recall_fscore_support(truth, guess, labels=labels, zero_division=0)
    return {
        "accuracy": {
            "mean": float(np.mean(per_round)),
            "std": float(np.std(per_round, ddof=1)) if len(per_round) > 1 else 0.0,
            "per_round": per_round,
            "per_fold": per_fold,
        },
        "confusion": confusion.tolist(),
        "per_class": {
            code: {
                "expression": EXPRESSIONS[k],
                "precision": float(precision[k]),
                "recall": float(recall[k]),
                "f1": float(f1[k]),
                "scans": int(support[k]),
            }
            for k, code in enumerate(EXPRESSION_CODES)
        },
    }
