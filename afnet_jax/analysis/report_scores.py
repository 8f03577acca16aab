"""Parts of a page that show scores: single numbers, the confusion matrix, each expression."""

from __future__ import annotations

from typing import Any

import numpy as np

from afnet_jax.analysis.report_page import Number
from afnet_jax.html_page import paragraph, shaded, table
from afnet_jax.scans.scan import EXPRESSION_CODES, EXPRESSIONS


def number(summary: dict, key: str, form: str = "{:.2f} %", scale: float = 100.0) -> Number:
    """A number of summary.json, or of a like file, by its key such as "accuracy.mean"."""
    value: Any = summary
    for part in key.split("."):
        value = value[int(part) if isinstance(value, list) else part]
    return Number(key, value, form.format(scale * value))


def confusion_section(summary: dict, *, counted: str = "counts over all rounds") -> str:
    """Returns the confusion matrix of summary.json, or of a like file, and says what its second lines are."""
    counts = np.array(summary["confusion"])
    if not counts.sum():
        return paragraph("No round is complete yet.")
    rows = []
    for true in range(len(EXPRESSIONS)):
        total = max(counts[true].sum(), 1)
        cells = [
            shaded(
                f"{100 * counts[true, k] / total:.1f} %",
                counts[true, k] / total,
                Number(f"confusion.{true}.{k}", int(counts[true, k]), f"{counts[true, k]:,}"),
            )
            for k in range(len(EXPRESSIONS))
        ]
        rows.append((EXPRESSIONS[true], *cells))
    caption = f"Rows: the true expression; columns: the predicted one. Percent of the row, {counted} below"
    return table(caption, ("true", *EXPRESSION_CODES), rows, kind="shares")


def expressions_section(summary: dict, *, counted: str = "counts are over all rounds") -> str:
    """Returns recall, precision and F1 of each expression."""
    rows = [
        (
            row["expression"],
            *(
                "–" if name != "precision" and not row["scans"] else number(summary, f"per_class.{code}.{name}")
                for name in ("recall", "precision", "f1")
            ),
            number(summary, f"per_class.{code}.scans", "{:,}", 1),
        )
        for code, row in summary["per_class"].items()
    ]
    return table(
        f"Recall is the accuracy on scans of the expression; {counted}",
        ("expression", "recall", "precision", "F1", "scans"),
        rows,
    )
