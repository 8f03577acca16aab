"""The files of an evaluation on another data set: evaluation.json, evaluation.html and predictions.npz."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from afnet_jax.analysis.evaluation import Evaluation, remarks, scores
from afnet_jax.analysis.report_calibration import calibration_section
from afnet_jax.analysis.report_page import page
from afnet_jax.analysis.report_predictions import Tested, subjects_section
from afnet_jax.analysis.report_scores import confusion_section, expressions_section, number
from afnet_jax.atomic_files import write_arrays_atomically, write_atomically, write_json
from afnet_jax.html_page import Section, counted, key_figures, paragraph, table, text
from afnet_jax.scans.databases import is_synthetic, title_of


def write_evaluation(evaluation: Evaluation, folder: Path) -> dict:
    """Writes the numbers, the page and the probabilities of every network into a folder, which is made if need be.

    Returns:
        The content of evaluation.json.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = scores(evaluation)
    write_json(folder / "evaluation.json", found)
    write_arrays_atomically(
        folder / "predictions.npz",
        {
            "scan_id": evaluation.scan_ids,
            "subject": evaluation.subjects,
            "label": evaluation.labels,
            "fold": np.array(evaluation.folds),
            "probabilities": evaluation.probabilities,
            "asked": evaluation.asked,
        },
    )
    write_atomically(folder / "evaluation.html", _page(evaluation, found))
    return found


def in_a_line(found: dict) -> str:
    """Returns the result in a line."""
    return (
        f"{100 * found['accuracy']['mean']:.1f} % of {found['scans']} scans "
        f"of {counted(found['subjects'], 'subject')} of {title_of(found['tested_on'])}"
        f"{between(found, ' (95 % interval {} to {})')}, "
        f"by {counted(found['networks'], 'network')} trained on {title_of(found['trained_on'])}"
    )


def between(found: dict, form: str) -> str:
    """Returns the ends of the accuracy's interval, %, in this form; nothing where a single subject has none."""
    ends = found["accuracy"]["interval"]
    return form.format(*(f"{100 * end:.1f}" for end in ends)) if ends else ""


def _page(evaluation: Evaluation, found: dict) -> str:
    rows = Tested(evaluation.scan_ids, evaluation.subjects, evaluation.labels, np.exp(evaluation.log_probabilities()))
    sections = [
        Section("networks", "Each network", _networks(evaluation, found)),
        Section("confusion", "Confusion matrix", confusion_section(found, counted="counts")),
        Section("expressions", "Expressions", expressions_section(found, counted="of the mean of the networks")),
        Section("calibration", "Calibration", _calibration(found)),
        Section("subjects", "Subjects", subjects_section(rows)),
    ]
    title = f"{found['variant']} of {title_of(found['trained_on'])}, tested on {title_of(found['tested_on'])}"
    return page(title, _lead(evaluation, found), sections)


def _lead(evaluation: Evaluation, found: dict) -> str:
    spread = between(found, "{} to {}, over subjects") or "one subject"
    figures = [
        ("Accuracy", number(found, "accuracy.mean"), spread),
        ("Scans", number(found, "scans", "{:,}", 1), counted(found["subjects"], "subject")),
        (
            "Networks",
            number(found, "networks", "{:,}", 1),
            f"of round {found['round']} of {evaluation.run.path.resolve().name}",
        ),
        ("Calibration error", number(found, "calibration.ece", "{:.3f}", 1), "as trained"),
    ]
    notice = "".join(f'<p class="notice" role="note">{each}.</p>' for each in map(text, remarks(evaluation)))
    caution = ""
    if is_synthetic(found["tested_on"]):
        caution = paragraph("Synthetic subjects: these accuracies say nothing about those on real faces.", soft=True)
    return key_figures(figures) + notice + caution


def _networks(evaluation: Evaluation, found: dict) -> str:
    every = found["accuracy"]["per_network"]
    rows: list[tuple] = [("mean of the probabilities", number(found, "accuracy.mean"), f"{found['scans']:,}")]
    for place, fold in enumerate(evaluation.folds):
        cell = "–" if every[place] is None else number(found, f"accuracy.per_network.{place}")
        rows.append((f"fold {fold}", cell, f"{evaluation.asked[place].sum():,}"))
    lead = (
        "Each fold's network alone, and all of them together: the mean of their probabilities. No network is asked "
        "about a subject whom it learned from. The interval above is a bootstrap over subjects, each with all scans."
    )
    return paragraph(lead) + table("Accuracy of each network", ("network", "accuracy", "scans"), rows)


def _calibration(found: dict) -> str:
    temperature = found["calibration"]["temperature"]
    scaling = "Not scaled: the run has predicted no other subjects than those tested here."
    if temperature is not None:
        scaling = (
            f"Temperature {temperature:.2f}: fitted on what the run's networks say of the test subjects of their own "
            f"folds ({title_of(found['trained_on'])}), none of whom is tested here. It changes no network's decision."
        )
    return calibration_section(found["calibration"], scaling=scaling)
