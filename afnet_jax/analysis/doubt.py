"""When a prediction is doubtful: less sure than nearly all that a run's networks said of its own test scans.

The networks know six expressions and share all probability among them, whatever a face shows. One that shows none of
them, a neutral one above all, gets a low probability more often than others; docs/analysis.md has how often.
"""

from __future__ import annotations

import numpy as np
import scipy.special

from afnet_jax.analysis.run import Run
from afnet_jax.errors import RunError

SHARE = 0.05  # of a run's own test scans, which show one of the six, that are called doubtful


def doubt_below(run: Run) -> float:
    """Returns the probability that the likeliest expression of SHARE of the run's test scans stays below.

    Each test scan was judged by the network that never saw its subject. 0 where the run has no predictions.
    """
    try:
        logits = run.predictions["logits"]
    except RunError:
        return 0.0
    logits = logits[np.isfinite(logits).all(axis=-1)]
    if not len(logits):
        return 0.0
    return float(np.quantile(scipy.special.softmax(logits.astype(np.float64), axis=-1).max(axis=-1), SHARE))
