"""The numbers of a run: summary.json."""

from __future__ import annotations

from collections import Counter

from afnet_jax.analysis.calibration import run_calibration
from afnet_jax.analysis.metrics import complete_rounds, score
from afnet_jax.analysis.run import Run
from afnet_jax.models.architecture import architecture_of
from afnet_jax.models.parameters import audit


def summarize(run: Run) -> dict:
    """The numbers of a run, re-scored from its pooled predictions; rounds with a missing fold do not count.

    Returns:
        See README.md, "What comes out".
    """
    predictions, splits = run.predictions, run.splits
    rounds = complete_rounds(predictions, splits)
    lines = run.metrics
    planned = len({fold.round for fold in splits})
    return {
        **score(predictions, rounds),
        "calibration": run_calibration(predictions, rounds),
        "parameters": audit(architecture_of(run.config.model)),
        "seconds": {
            "total": sum(line["seconds"] + line["compile_seconds"] for line in lines),
            "compile": sum(line["compile_seconds"] for line in lines),
            "per_epoch": sum(line["seconds"] for line in lines)
            / max(1, len({(x["round"], x["epoch"]) for x in lines})),
        },
        "rounds": planned,
        "folds": max(Counter(fold.round for fold in splits).values()),  # of the round that has most
        "scans": len(set(predictions["scan_id"].tolist())),
        "complete": len(rounds) == planned,
    }
