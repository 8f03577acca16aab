"""The report's section on linear models: whether the network earns its cost."""

from __future__ import annotations

from afnet_jax.analysis import report_charts
from afnet_jax.analysis.baselines import are_of, best_of, verdict
from afnet_jax.analysis.reliance import told
from afnet_jax.analysis.run import Run
from afnet_jax.analysis.tables import baselines_table
from afnet_jax.errors import RunError
from afnet_jax.html_page import figure, paragraph, table

_LABELS = {"depth and texture": "both"}  # short enough to stand under a bar


def baselines_section(run: Run) -> str:
    """Returns the network's accuracy beside those of linear models on the same splits."""
    stored = run.baselines
    if stored is None:
        return paragraph(f"Not compared yet: afnet compare --workdir={run.path}")
    if not are_of(stored, run):
        return paragraph(f"baselines.json is not of these predictions: afnet compare --workdir={run.path}")
    known = {name: model for name, model in stored["models"].items() if "reason" not in model}
    shares = [("network", stored["network"])]
    shares += [(_LABELS.get(name, name), model["accuracy"]["mean"]) for name, model in known.items()]
    title, linear = "Accuracy of the network and of linear models", [name for name, _ in shares[1:]]
    if joint := stored.get("together"):
        shares.append(("together", joint["accuracy"]["mean"]))
    chart = report_charts.bars(title, shares, y_label="accuracy", paler=linear)
    listed = baselines_table(stored, run.config.variant)
    seen = "sees as masks alone" if run.config.model.mask_attention_stages else "does not see"
    lead = (
        f"Logistic regression on the places of the landmarks, which the network {seen}, and on 32×32 "
        "pixels of depth, of grey, and of both; trained and tested on the same subjects as the network. “Together” is "
        "the product of the network’s probabilities and those of the regression on landmarks."
    )
    absent = "".join(
        paragraph(f"No linear model on {name}: {model['reason']}.")
        for name, model in stored["models"].items()
        if "reason" in model
    )
    rests = stored.get("rests_on")  # which `afnet compare` alone finds out
    return (
        paragraph(verdict(stored) + (f" {told(rests)}" if rests else ""))
        + paragraph(lead, soft=True)
        + figure(chart, f"{stored_rounds(stored, run)}.{_who_placed(stored)}")
        + table(listed.title, listed.columns, listed.rows)
        + absent
    )


def best_linear_model(run: Run) -> tuple[str, str, str] | None:
    """Returns the best linear model as one of the page's key figures; None where none was compared."""
    try:
        stored = run.baselines
        if stored is None or not are_of(stored, run):
            return None
    except RunError:  # which the section tells
        return None
    name, model = best_of(stored)
    return "Best linear model", f"{100 * model['accuracy']['mean']:.2f} %", f"on {name}"


def stored_rounds(stored: dict, run: Run) -> str:
    """Tells on how many of the run's rounds the models were compared."""
    compared, planned = len(stored["rounds"]), len({fold.round for fold in run.splits})
    more = f"; afnet compare --workdir={run.path} takes all" if compared < planned else ""
    return (
        f"Round {stored['rounds'][0]} of {planned}{more}" if compared == 1 else f"{compared} of {planned} rounds{more}"
    )


def _who_placed(stored: dict) -> str:
    share = stored["landmarks_found"]
    return "" if not share else f" Of {100 * share:.0f} % of the scans the landmarks were found on the surface."
