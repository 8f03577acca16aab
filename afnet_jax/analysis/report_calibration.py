"""A page's section on calibration: whether networks are right as often as they say."""

from __future__ import annotations

from afnet_jax.analysis import report_charts
from afnet_jax.analysis.calibration import BINS
from afnet_jax.html_page import details, figure, paragraph, table


def calibration_section(found: dict | None, *, scaling: str) -> str:
    """Returns the reliability diagram and the calibration errors.

    Args:
        found: "ece", "ece_by_chance", "nll" and "bins" of `calibration.calibration`, and "scaled", the same after
            temperature scaling or None; None where nothing is known.
        scaling: on what the temperature was fitted, or why there is none, as sentences.
    """
    if found is None:
        return paragraph("No round is complete yet.")
    kinds = {"as trained": found} | ({"scaled": found["scaled"]} if found["scaled"] else {})
    lead = (
        "A network is calibrated if it is right in 80 % of the decisions to which it gives 80 %. The expected "
        f"calibration error (ECE) is the mean distance from that over {BINS} bins of confidence. A perfectly "
        "calibrated network would not have 0 on so few scans, but what stands under “by chance”."
    )
    chart = report_charts.reliability(
        "How often decisions were right, by the probability given to them",
        {name: [row for row in zip(*each["bins"].values(), strict=True) if row[2]] for name, each in kinds.items()},
    )
    rows = [
        (name, f"{each['ece']:.3f}", f"{each['ece_by_chance']:.3f}", f"{each['nll']:.3f}")
        for name, each in kinds.items()
    ]
    errors = table(
        "Calibration error, what chance alone leaves of it, and mean negative log-likelihood",
        ("probabilities", "ECE", "by chance", "NLL"),
        rows,
    )
    caption = "On the diagonal a network is as often right as it says; above it, more often. Larger dots: more scans."
    return paragraph(lead) + figure(chart, caption) + errors + paragraph(scaling, soft=True) + _bins(kinds)


def _bins(kinds: dict[str, dict]) -> str:
    content = ""
    for name, each in kinds.items():
        rows = [
            (f"{k / BINS:.2f} to {(k + 1) / BINS:.2f}", f"{100 * mean:.1f} %", f"{100 * share:.1f} %", f"{count:,}")
            for k, (mean, share, count) in enumerate(zip(*each["bins"].values(), strict=True))
            if count
        ]
        content += table(
            f"Decisions by their probability, {name}", ("probability", "mean", "of them right", "decisions"), rows
        )
    return details("The diagram in numbers", content)
