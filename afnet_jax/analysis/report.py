"""report.html: all results of a run on one self-contained page."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from afnet_jax.analysis import paper, report_charts
from afnet_jax.analysis.metrics import complete_rounds, tested_folds
from afnet_jax.analysis.report_attention import attention_sections
from afnet_jax.analysis.report_baselines import baselines_section, best_linear_model
from afnet_jax.analysis.report_calibration import calibration_section
from afnet_jax.analysis.report_page import page
from afnet_jax.analysis.report_predictions import hardest_section, subjects_section, tested_rows
from afnet_jax.analysis.report_scores import confusion_section, expressions_section, number
from afnet_jax.analysis.run import Run
from afnet_jax.atomic_files import write_atomically
from afnet_jax.config import default_config, flat
from afnet_jax.datasets.loading import FaceDataset
from afnet_jax.errors import RunError
from afnet_jax.html_page import Section, counted, details, figure, key_figures, paragraph, table, text
from afnet_jax.models.architecture import architecture_of
from afnet_jax.scans.databases import is_synthetic, title_of
from afnet_jax.training.progress import duration

_MOST_ROUNDS = 10  # that are listed one by one


def write_report(run: Run, data: FaceDataset | None = None) -> Path:
    """Writes DIR/report.html from what the run folder holds; what is not there yet is said to be missing.

    Args:
        run: with a summary.json.
        data: the run's data set; without it there are no pictures of faces.

    Returns:
        The page.
    """
    summary, rows = run.summary, tested_rows(run)
    makers: list[tuple[str, str, Callable[[], str]]] = [
        ("accuracy", "Accuracy", lambda: _accuracy(run, summary)),
        ("baselines", "Beside linear models", lambda: baselines_section(run)),
        ("curves", "Learning curves", lambda: _curves(run)),
        ("confusion", "Confusion matrix", lambda: confusion_section(summary)),
        ("expressions", "Expressions", lambda: expressions_section(summary)),
        ("calibration", "Calibration", lambda: _calibration(summary)),
        ("subjects", "Subjects", lambda: subjects_section(rows)),
        ("hardest", "Hardest scans", lambda: hardest_section(rows, data)),
        *attention_sections(run, data),
        ("splits", "Splits", lambda: _splits(run)),
        ("settings", "Settings", lambda: _settings(run)),
        ("environment", "Versions and times", lambda: _environment(run, summary)),
    ]
    sections = [Section(anchor, heading, _or_reason(make)) for anchor, heading, make in makers]
    title = f"{run.config.variant} on {title_of(run.config.dataset.name)}: {run.path.absolute().name}"
    path = run.path / "report.html"
    write_atomically(path, page(title, _lead(run, summary), sections))
    return path


def _or_reason(make: Callable[[], str]) -> str:
    """A section, or why there is none: one that fails must not cost the others."""
    try:
        return make()
    except RunError as error:
        return paragraph(f"Not shown: {error}")


def _lead(run: Run, summary: dict) -> str:
    accuracy, expected = summary["accuracy"], _of_paper(run)
    done = len(accuracy["per_round"])
    figures: list[tuple[str, Any, str]] = []
    if accuracy["mean"] is not None:
        spread = f"± {100 * accuracy['std']:.2f} over {done} rounds" if done > 1 else "one round"
        figures.append(("Accuracy", number(summary, "accuracy.mean"), spread))
    if (linear := best_linear_model(run)) is not None:
        figures.append(linear)
    if expected is not None:
        figures.append(("The paper's", f"{expected:.2f} %", "mean of 100 rounds"))
    subjects = {subject for fold in run.splits for subject in fold.test}
    figures += [
        ("Scans", number(summary, "scans", "{:,}", 1), counted(len(subjects), "subject")),
        ("Rounds", number(summary, "rounds", "{:,}", 1), f"of {_fold_counts(run)}"),
        ("Parameters", number(summary, "parameters.mib", "{:.2f} MiB", 1), "of float32"),
        ("Training", duration(summary["seconds"]["total"]), counted(run.config.train.epochs, "epoch")),
    ]
    notice = ""
    if not summary["complete"]:
        notice = (
            f'<p class="notice" role="note"><strong>Incomplete:</strong> {done} of {summary["rounds"]} rounds are '
            f"finished{text(_missing_folds(run))}. Numbers are those of the finished rounds.</p>"
        )
    for line in run.seen_before:
        notice += f'<p class="notice" role="note"><strong>Not all unseen:</strong> {text(line)}</p>'
    caution = ""
    if is_synthetic(run.config.dataset.name):
        caution = paragraph("Synthetic subjects: these accuracies say nothing about those on real faces.", soft=True)
    return notice + key_figures(figures) + caution


def _of_paper(run: Run) -> float | None:
    return paper.of_network(architecture_of(run.config.model), run.config.dataset.name)


def _fold_counts(run: Run) -> str:
    counts = Counter(fold.round for fold in run.splits).values()
    return counted(min(counts), "fold") if min(counts) == max(counts) else f"{min(counts)} to {max(counts)} folds"


def _missing_folds(run: Run) -> str:
    found = tested_folds(run.predictions)
    missing = [f"round {f.round} fold {f.fold}" for f in run.splits if (f.round, f.fold) not in found]
    return f"; without predictions: {', '.join(missing[:5])}{' …' if len(missing) > 5 else ''}" if missing else ""


def _accuracy(run: Run, summary: dict) -> str:
    accuracy = summary["accuracy"]
    if accuracy["mean"] is None:
        return paragraph("No round is complete yet.")
    expected = _of_paper(run)
    rows: list[tuple[str, Any]] = [("rounds, mean", number(summary, "accuracy.mean"))]
    if len(accuracy["per_round"]) > 1:
        rows.append(("rounds, sample standard deviation", number(summary, "accuracy.std")))
    rows += [("the paper's 100 rounds, mean", f"{expected:.2f} %")] if expected is not None else []
    content = table("Accuracy, re-scored from the pooled predictions of each round", ("over", "accuracy"), rows)
    per_fold = _per_fold(summary, complete_rounds(run.predictions, run.splits))
    if len(accuracy["per_round"]) == 1:
        return content + per_fold
    title = "Accuracy of each round and of its folds"
    chart = report_charts.spread(title, accuracy["per_round"], accuracy["per_fold"], x_label="complete round")
    caption = "Rounds differ in how subjects fall into folds, and in their seeds. The line is the mean over rounds."
    return content + figure(chart, caption) + details("Every round and fold", per_fold)


def _per_fold(summary: dict, rounds: Sequence[int]) -> str:
    """Accuracy of each of the complete rounds, and of each of its folds, of which rounds may have different numbers."""
    per_fold = summary["accuracy"]["per_fold"]
    if len(per_fold) != len(rounds):
        raise RunError("summary.json is not of these predictions; write it again with --mode=evaluate")
    shown = range(min(len(rounds), _MOST_ROUNDS))
    most = max(len(per_fold[place]) for place in shown)
    rows = []
    for place in shown:
        count = len(per_fold[place])
        cells = [number(summary, f"accuracy.per_fold.{place}.{fold}", "{:.1f} %") for fold in range(count)]
        whole = number(summary, f"accuracy.per_round.{place}")
        rows.append((f"round {rounds[place]}", whole, *cells, *["–"] * (most - count)))
    return table(
        "Accuracy of each round and fold" + ("" if len(rounds) <= _MOST_ROUNDS else ", first rounds"),
        ("round", "all folds", *(f"fold {fold}" for fold in range(most))),
        rows,
    )


def _curves(run: Run) -> str:
    lines = run.metrics
    if not lines:
        return paragraph("No epoch is finished yet.")
    kinds = {"loss": "loss", "train": "train_accuracy", "test": "test_accuracy"}
    curves = {name: curve for name, key in kinds.items() if (curve := _curve(lines, key)) is not None}
    if "loss" not in curves:
        return paragraph("No training has a finite loss.")
    count = len({(line["round"], fold) for line in lines for fold in line["folds"]})
    loss = report_charts.lines(
        "Training loss by epoch", {"loss": curves["loss"]}, x_label="epoch", y_label="training loss"
    )
    shown = {name: curve for name, curve in curves.items() if name != "loss"}
    caption = f"Mean of {count} trainings; the band holds eight in ten of them."
    charts = figure(loss, caption)
    if shown:
        title = "Accuracy on training and test scans by epoch"
        accuracies = report_charts.lines(title, shown, x_label="epoch", y_label="accuracy", percent=True)
        charts += figure(accuracies, caption)
    numbers = table(
        "The curves at the first and the last epoch, means",
        ("curve", "first", "last"),
        [(name, f"{curve.middle[0]:.3f}", f"{curve.middle[-1]:.3f}") for name, curve in curves.items()],
    )
    return f'<div class="charts">{charts}</div>' + details("The curves in numbers", numbers)


def _curve(lines: list[dict], key: str) -> report_charts.Curve | None:
    values: dict[int, list[float]] = {}
    for line in lines:
        values.setdefault(line["epoch"], []).extend(v for v in line[key] if v is not None and np.isfinite(v))
    epochs = [epoch for epoch in sorted(values) if values[epoch]]
    if not epochs:
        return None
    columns = [(np.mean(values[e]), np.percentile(values[e], 10), np.percentile(values[e], 90)) for e in epochs]
    return report_charts.Curve(np.array(epochs) + 1, *map(np.array, zip(*columns, strict=True)))


def _calibration(summary: dict) -> str:
    if "calibration" not in summary:
        raise RunError("summary.json is of an earlier version; write it again with --mode=evaluate")
    found = summary["calibration"]
    scaling = "Not scaled: with a single fold nothing is left to fit a temperature on."
    if found and found["scaled"]:
        every = [t for of_round in found["temperatures"] for t in of_round]
        scaling = (
            f"Temperatures {min(every):.2f} to {max(every):.2f}, one for each fold's network: fitted on what the other "
            "folds' networks of the round say of their own test subjects, all of whom this network was trained on and "
            "none of whom it is tested on. They change no decision."
        )
    return calibration_section(found, scaling=scaling)


def _splits(run: Run) -> str:
    parts = []
    rounds = sorted({fold.round for fold in run.splits})
    for round_ in rounds[:_MOST_ROUNDS]:
        rows = [
            (f"fold {f.fold}", f"{len(f.train)}", f"{len(f.test)}", ", ".join(f.test))
            for f in run.splits
            if f.round == round_
        ]
        listed = table(
            f"Round {round_}: who is tested in which fold",
            ("fold", "trained on", "tested on", "test subjects"),
            rows,
            kind="words",
        )
        parts.append(listed if len(rounds) == 1 else details(f"Round {round_}", listed))
    if len(rounds) > _MOST_ROUNDS:
        parts.append(paragraph(f"The other {len(rounds) - _MOST_ROUNDS} rounds stand in splits.json."))
    return "".join(parts)


def _settings(run: Run) -> str:
    stored, usual = (flat(json.loads(c.to_json())) for c in (run.config, default_config(run.config.variant)))
    changed = [(field, json.dumps(value)) for field, value in stored.items() if value != usual.get(field)]
    rest = [(field, json.dumps(value)) for field, value in stored.items() if value == usual.get(field)]
    told = table("Settings that differ from the paper's and the project's", ("field", "value"), changed, kind="words")
    everything = table("All other settings", ("field", "value"), rest, kind="words")
    return (told if changed else paragraph("All settings are the defaults.")) + details(
        "All other settings", everything
    )


def _environment(run: Run, summary: dict) -> str:
    environment, seconds = run.environment, summary["seconds"]
    packages = environment.get("packages", {})
    rows = [
        ("afnet_jax", environment.get("afnet_jax")),
        ("git commit", environment.get("git_commit") or "not from a checkout"),
        ("Python", environment.get("python")),
        ("system", environment.get("platform")),
        ("devices", f"{', '.join(environment.get('devices', []))} ({environment.get('backend')})"),
        *packages.items(),
        ("data set, SHA-256", environment.get("data_sha256")),
    ]
    times = [
        ("total", number(summary, "seconds.total", "{:,.1f} s", 1), duration(seconds["total"])),
        ("compiling", number(summary, "seconds.compile", "{:,.1f} s", 1), duration(seconds["compile"])),
        ("an epoch of a round", number(summary, "seconds.per_epoch", "{:,.2f} s", 1), ""),
    ]
    size = summary["parameters"]
    sizes = [
        ("parameters", number(summary, "parameters.count", "{:,}", 1)),
        ("MiB of float32", number(summary, "parameters.mib", "{:.2f}", 1)),
        ("MiB counted per call, as in Table IV", number(summary, "parameters.mib_per_call", "{:.2f}", 1)),
    ]
    return (
        table("Time", ("for", "seconds", "rounded"), times)
        + (table("Size of the network", ("counted", "size"), sizes) if size else "")
        + table("Versions", ("what", "found at the start of the run"), rows, kind="words")
    )
