"""report.html: everything a finished run has to say, on one page that can be mailed, printed and kept."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.special

from afnet_jax.analysis import paper, report_charts
from afnet_jax.analysis.figures import expression_scans, overlay, surface
from afnet_jax.analysis.gradcam import Explanation, enlarge, explain
from afnet_jax.analysis.metrics import complete_rounds
from afnet_jax.analysis.report_page import Number, image, page, picture_cell
from afnet_jax.analysis.run import Run
from afnet_jax.config import default_config, flat
from afnet_jax.datasets.loading import FaceDataset, Maps
from afnet_jax.errors import RunError
from afnet_jax.html_page import Section, details, figure, key_figures, paragraph, shaded, table, text
from afnet_jax.runs.atomic_files import write_atomically
from afnet_jax.scans.scan import EXPRESSION_CODES, EXPRESSIONS
from afnet_jax.training.progress import duration

_HARDEST = 12  # scans that are shown
_MOST_EXPLAINED = 72  # scans whose importance weights are averaged
_MOST_ROUNDS = 10  # that are listed one by one


@dataclasses.dataclass(frozen=True)
class _Rows:
    """Predictions of the complete rounds, or of all there are where none is complete; all (rows,) but probabilities."""

    scan_id: np.ndarray
    subject: np.ndarray
    label: np.ndarray
    probabilities: np.ndarray

    @property
    def guess(self) -> np.ndarray:
        return self.probabilities.argmax(-1)

    @property
    def right(self) -> np.ndarray:
        return self.guess == self.label


def write_report(run: Run, data: FaceDataset | None = None) -> Path:
    """Writes DIR/report.html from what the run folder holds; what is not there yet is said to be missing.

    Args:
        run: with a summary.json.
        data: the run's data set; without it there are no pictures of faces.

    Returns:
        The page.
    """
    summary, rows = run.summary, _rows(run)
    makers: list[tuple[str, str, Callable[[], str]]] = [
        ("accuracy", "Accuracy", lambda: _accuracy(run, summary)),
        ("curves", "Learning curves", lambda: _curves(run)),
        ("confusion", "Confusion matrix", lambda: _confusion(summary)),
        ("expressions", "Expressions", lambda: _expressions(summary)),
        ("subjects", "Subjects", lambda: _subjects(rows)),
        ("hardest", "Hardest scans", lambda: _hardest(rows, data)),
        *_explanations(run, data),
        ("splits", "Splits", lambda: _splits(run)),
        ("settings", "Settings", lambda: _settings(run)),
        ("environment", "Versions and times", lambda: _environment(run, summary)),
    ]
    sections = [Section(anchor, heading, _or_reason(make)) for anchor, heading, make in makers]
    title = f"{run.config.variant} on {paper.DATABASES[run.config.dataset.name]}: {run.path.absolute().name}"
    path = run.path / "report.html"
    write_atomically(path, page(title, _lead(run, summary), sections))
    return path


def _or_reason(make: Callable[[], str]) -> str:
    """A section, or why there is none: one that fails must not cost the others."""
    try:
        return make()
    except RunError as error:
        return paragraph(f"Not shown: {error}")


def _rows(run: Run) -> _Rows:
    predictions = run.predictions
    subjects = predictions["subject"]
    rounds = complete_rounds(predictions, run.splits)
    chosen = np.isin(predictions["round"], rounds) if rounds else np.full(len(subjects), True)
    probabilities = scipy.special.softmax(predictions["logits"][chosen].astype(np.float64), axis=-1)
    return _Rows(predictions["scan_id"][chosen], subjects[chosen], predictions["label"][chosen], probabilities)


def _number(summary: dict, key: str, form: str = "{:.2f} %", scale: float = 100.0) -> Number:
    value: Any = summary
    for part in key.split("."):
        value = value[int(part) if isinstance(value, list) else part]
    return Number(key, value, form.format(scale * value))


def _lead(run: Run, summary: dict) -> str:
    accuracy, expected = summary["accuracy"], paper.of_variant(run.config.variant, run.config.dataset.name)
    done = len(accuracy["per_round"])
    figures: list[tuple[str, Any, str]] = []
    if accuracy["mean"] is not None:
        spread = f"± {100 * accuracy['std']:.2f} over {done} rounds" if done > 1 else "one round"
        figures.append(("Accuracy", _number(summary, "accuracy.mean"), spread))
    if expected is not None:
        figures.append(("The paper's", f"{expected:.2f} %", "mean of 100 rounds"))
    figures += [
        ("Scans", _number(summary, "scans", "{:,}", 1), f"{len({s for f in run.splits for s in f.test})} subjects"),
        ("Rounds", _number(summary, "rounds", "{:,}", 1), f"of {summary['folds']} folds"),
        ("Parameters", _number(summary, "parameters.mib", "{:.2f} MiB", 1), "of float32"),
        ("Training", duration(summary["seconds"]["total"]), f"{run.config.train.epochs} epochs"),
    ]
    notice = ""
    if not summary["complete"]:
        notice = (
            f'<p class="notice" role="note"><strong>Incomplete:</strong> {done} of {summary["rounds"]} rounds are '
            f"finished{text(_missing_folds(run))}. Numbers are those of the finished rounds.</p>"
        )
    caution = ""
    if run.config.dataset.name == "synthetic":
        caution = paragraph("Made-up people: these accuracies say nothing about those on real faces.", soft=True)
    return notice + key_figures(figures) + caution


def _missing_folds(run: Run) -> str:
    predictions = run.predictions
    found = set(zip(predictions["round"].tolist(), predictions["fold"].tolist(), strict=True))
    missing = [f"round {f.round} fold {f.fold}" for f in run.splits if (f.round, f.fold) not in found]
    return f"; without predictions: {', '.join(missing[:5])}{' …' if len(missing) > 5 else ''}" if missing else ""


def _accuracy(run: Run, summary: dict) -> str:
    accuracy = summary["accuracy"]
    if accuracy["mean"] is None:
        return paragraph("No round is complete yet.")
    expected = paper.of_variant(run.config.variant, run.config.dataset.name)
    rows: list[tuple[str, Any]] = [("rounds, mean", _number(summary, "accuracy.mean"))]
    rows += [("rounds, standard deviation", _number(summary, "accuracy.std"))] if accuracy["std"] else []
    rows += [("the paper's 100 rounds, mean", f"{expected:.2f} %")] if expected is not None else []
    content = table("Accuracy, re-scored from the pooled predictions of each round", ("over", "accuracy"), rows)
    shown = range(min(len(accuracy["per_round"]), _MOST_ROUNDS))
    folds = max(len(accuracy["per_fold"][k]) for k in shown)
    per_fold = table(
        "Accuracy of each round and fold" + ("" if len(accuracy["per_round"]) <= _MOST_ROUNDS else ", first rounds"),
        ("round", "all folds", *(f"fold {k}" for k in range(folds))),
        [
            (
                f"round {k}",
                _number(summary, f"accuracy.per_round.{k}"),
                *(_number(summary, f"accuracy.per_fold.{k}.{f}", "{:.1f} %") for f in range(folds)),
            )
            for k in shown
        ],
    )
    return content + (per_fold if len(shown) == 1 else details("Every round and fold", per_fold))


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
    accuracies = report_charts.lines(
        "Accuracy on training and test scans by epoch", shown, x_label="epoch", y_label="accuracy", percent=True
    )
    caption = f"Mean of {count} trainings; the band holds eight in ten of them."
    numbers = table(
        "The curves at the first and the last epoch, means",
        ("curve", "first", "last"),
        [(name, f"{curve.middle[0]:.3f}", f"{curve.middle[-1]:.3f}") for name, curve in curves.items()],
    )
    return f'<div class="charts">{figure(loss, caption)}{figure(accuracies, caption)}</div>' + details(
        "The curves in numbers", numbers
    )


def _curve(lines: list[dict], key: str) -> report_charts.Curve | None:
    values: dict[int, list[float]] = {}
    for line in lines:
        values.setdefault(line["epoch"], []).extend(v for v in line[key] if v is not None)
    epochs = [epoch for epoch in sorted(values) if values[epoch]]
    if not epochs:
        return None
    columns = [(np.mean(values[e]), np.percentile(values[e], 10), np.percentile(values[e], 90)) for e in epochs]
    return report_charts.Curve(np.array(epochs) + 1, *map(np.array, zip(*columns, strict=True)))


def _confusion(summary: dict) -> str:
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
    caption = "Rows: the true expression; columns: the predicted one. Percent of the row, counts over all rounds below"
    return table(caption, ("true", *EXPRESSION_CODES), rows, kind="shares")


def _expressions(summary: dict) -> str:
    rows = [
        (
            row["expression"],
            *(_number(summary, f"per_class.{code}.{name}") for name in ("recall", "precision", "f1")),
            _number(summary, f"per_class.{code}.scans", "{:,}", 1),
        )
        for code, row in summary["per_class"].items()
    ]
    return table(
        "Recall is the accuracy on scans of the expression; counts are over all rounds",
        ("expression", "recall", "precision", "F1", "scans"),
        rows,
    )


def _subjects(rows: _Rows) -> str:
    if not len(rows.subject):
        return paragraph("Nothing is predicted.")
    found = sorted((float(rows.right[rows.subject == s].mean()), str(s)) for s in np.unique(rows.subject))
    shares = [share for share, _ in found]
    chart = report_charts.bars(
        "Accuracy of each subject, from the hardest to the easiest", [(s, a) for a, s in found], y_label="accuracy"
    )
    told = f"{len(found)} subjects, from {100 * shares[0]:.1f} % ({found[0][1]}) to {100 * shares[-1]:.1f} %."
    listed = table("Accuracy by subject", ("subject", "accuracy"), [(s, f"{100 * a:.1f} %") for a, s in found])
    return figure(chart, told) + details("Every subject", listed)


def _hardest(rows: _Rows, data: FaceDataset | None) -> str:
    if not len(rows.subject):
        return paragraph("Nothing is predicted.")
    place = {str(scan): k for k, scan in enumerate(data.scan_ids)} if data is not None else {}
    of_truth = rows.probabilities[np.arange(len(rows.label)), rows.label]
    scans, index = np.unique(rows.scan_id, return_inverse=True)
    counts = np.bincount(index)
    mean, right = np.bincount(index, of_truth) / counts, np.bincount(index, rows.right)
    items = []
    for k in np.argsort(mean)[:_HARDEST]:
        own = rows.scan_id == scans[k]
        true = EXPRESSIONS[rows.label[own][0]]
        name = str(scans[k])
        pictures = _pair(data, place[name], name) if data is not None and name in place else ""
        wrong = rows.guess[own][~rows.right[own]]
        taken = f", else mostly {EXPRESSIONS[np.bincount(wrong).argmax()]}" if len(wrong) else ""
        told = f"{scans[k]}: {true}, given {100 * mean[k]:.1f} %; right in {right[k]:.0f} of {counts[k]}{taken}"
        items.append(f"<li><figure>{pictures}<figcaption>{text(told)}</figcaption></figure></li>")
    lead = (
        "The scans to whose true expression the networks that never saw them gave the least probability, on average "
        "over rounds; in how many of them they were right, and what they mostly took them for when wrong."
    )
    return paragraph(lead) + f'<ul class="faces">{"".join(items)}</ul>'


def _pair(data: FaceDataset, scan: int, name: str) -> str:
    texture, depth = data.arrays.texture[scan], data.arrays.depth[scan, ..., 0]
    pictures = image(texture, f"Texture of {name}") + image(surface(depth), f"Surface of {name}")
    return f'<div class="pair">{pictures}</div>'


def _explanations(run: Run, data: FaceDataset | None) -> list[tuple[str, str, Callable[[], str]]]:
    """Grad-CAM and importance weights of round 0, fold 0, from one pass over its test scans."""
    try:
        if data is None:
            raise RunError("the data set is not at hand")
        chosen = expression_scans(run, data)[0]
        tested = np.flatnonzero(np.isin(data.subjects, run.splits[0].test))
        scans = np.concatenate([chosen, np.setdiff1d(tested, chosen)])[:_MOST_EXPLAINED]
        maps = Maps(*(column[scans][None] for column in data.arrays))
        explained = explain(run, maps, round=0, folds=[0], classes=maps.labels)
        if not all(np.isfinite(heat).all() for heat in explained.heat.values()):
            raise RunError("the training of round 0, fold 0 was given up")
    except RunError as error:
        reason = str(error)
        return [("attention", "Where the network looks", lambda: paragraph(f"Not shown: {reason}"))]
    sections = [("attention", "Where the network looks", lambda: _attention(maps, explained, data.scan_ids[chosen]))]
    if explained.importance:
        sections.append(("importance", "What it weighs", lambda: _importance(explained, maps.labels[0])))
    return sections


def _attention(maps: Maps, explained: Explanation, names: np.ndarray) -> str:
    size, rows = maps.texture.shape[2], []
    for trunk in sorted(explained.heat, reverse=True):  # texture above depth, as in Fig. 6
        heat = explained.heat[trunk]
        cells = []
        for k, name in enumerate(names):
            face = surface(maps.depth[0, k, ..., 0]) if trunk == "depth" else maps.texture[0, k]
            alt = f"Heat of the {trunk} trunk for {EXPRESSIONS[k]} on {name}"
            cells.append(picture_cell(image(overlay(face, enlarge(heat[0, k], size)), alt)))
        rows.append((trunk, *cells))
    caption = "Grad-CAM of the true expression by the network of round 0, fold 0, which never saw this person"
    return table(caption, ("trunk", *EXPRESSIONS), rows, kind="grid")


def _importance(explained: Explanation, labels: np.ndarray) -> str:
    places = [key.split("/")[1] for key in explained.importance if key.startswith("texture/")]
    content = paragraph(
        "Importance weights (eq. 2): each channel of a trunk is multiplied by a weight between 0 and 1 before the "
        "trunks are added. Means over channels and scans; the last column says in how many channels texture counts "
        "for more than depth."
    )
    for place in places:
        texture, depth = (explained.importance[f"{trunk}/{place}"][0] for trunk in ("texture", "depth"))
        rows = []
        for label, name in [*enumerate(EXPRESSIONS), (None, "all")]:
            own = labels == label if label is not None else np.full(len(labels), True)
            share = float((texture[own] > depth[own]).mean())
            rows.append(
                (name, f"{texture[own].mean():.3f}", f"{depth[own].mean():.3f}", shaded(f"{100 * share:.1f} %", share))
            )
        stage = place.removeprefix("layer").split("_")[0]
        caption = f"After Layer{stage}, round 0 fold 0, {len(labels)} test scans"
        content += table(caption, ("expression", "texture", "depth", "texture above depth"), rows, kind="shares")
    return content


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
        ("total", _number(summary, "seconds.total", "{:,.1f} s", 1), duration(seconds["total"])),
        ("compiling", _number(summary, "seconds.compile", "{:,.1f} s", 1), duration(seconds["compile"])),
        ("an epoch of a round", _number(summary, "seconds.per_epoch", "{:,.2f} s", 1), ""),
    ]
    size = summary["parameters"]
    sizes = [
        ("parameters", _number(summary, "parameters.count", "{:,}", 1)),
        ("MiB of float32", _number(summary, "parameters.mib", "{:.2f}", 1)),
        ("MiB counted per call, as in Table IV", _number(summary, "parameters.mib_per_call", "{:.2f}", 1)),
    ]
    return (
        table("Time", ("for", "seconds", "rounded"), times)
        + (table("Size of the network", ("counted", "size"), sizes) if size else "")
        + table("Versions", ("", "found at the start of the run"), rows, kind="words")
    )
