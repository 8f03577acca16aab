"""The report's sections that are made of single predictions: each subject, and the hardest scans."""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.special

from afnet_jax.analysis import report_charts
from afnet_jax.analysis.figures import surface
from afnet_jax.analysis.metrics import complete_rounds
from afnet_jax.analysis.report_page import image
from afnet_jax.analysis.run import Run
from afnet_jax.datasets.loading import FaceDataset
from afnet_jax.html_page import counted, details, figure, paragraph, prose, table
from afnet_jax.scans.scan import EXPRESSIONS

_HARDEST = 12  # scans that are shown


@dataclasses.dataclass(frozen=True)
class Tested:
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


def tested_rows(run: Run) -> Tested:
    """Reads a run's predictions for this module's sections."""
    predictions = run.predictions
    rounds = complete_rounds(predictions, run.splits)
    chosen = np.isin(predictions["round"], rounds) if rounds else np.full(len(predictions["round"]), True)
    probabilities = scipy.special.softmax(predictions["logits"][chosen].astype(np.float64), axis=-1)
    scan_id, subject, label = (predictions[name][chosen] for name in ("scan_id", "subject", "label"))
    return Tested(scan_id, subject, label, probabilities)


def subjects_section(rows: Tested) -> str:
    """Returns a bar and a line for each subject, the hardest first."""
    if not len(rows.subject):
        return paragraph("Nothing is predicted.")
    found = sorted((float(rows.right[rows.subject == s].mean()), str(s)) for s in np.unique(rows.subject))
    shares = [share for share, _ in found]
    chart = report_charts.bars(
        "Accuracy of each subject, from the hardest to the easiest", [(s, a) for a, s in found], y_label="accuracy"
    )
    ends = f"{100 * shares[0]:.1f} % ({found[0][1]}) to {100 * shares[-1]:.1f} %"
    told = f"{counted(len(found), 'subject')}, from {ends}."
    listed = table("Accuracy by subject", ("subject", "accuracy"), [(s, f"{100 * a:.1f} %") for a, s in found])
    return figure(chart, told) + details("Every subject", listed)


def hardest_section(rows: Tested, data: FaceDataset | None) -> str:
    """Returns the scans with the least probability of their true expression, with pictures where data has them."""
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
        items.append(f"<li><figure>{pictures}<figcaption>{prose(told)}</figcaption></figure></li>")
    lead = (
        "The scans to whose true expression the networks that never saw them gave the least probability, on average "
        "over rounds; in how many of them they were right, and what they mostly took them for when wrong."
    )
    return paragraph(lead) + f'<ul class="faces">{"".join(items)}</ul>'


def _pair(data: FaceDataset, scan: int, name: str) -> str:
    texture, depth = data.maps.texture[scan], data.maps.depth[scan, ..., 0]
    pictures = image(texture, f"Texture of {name}") + image(surface(depth), f"Surface of {name}")
    return f'<div class="pair">{pictures}</div>'
