"""The report's sections on what a network looks at (Grad-CAM, Fig. 6) and what it weighs (IWC, eq. 2)."""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np

from afnet_jax.analysis.figures import expression_scans, overlay, surface
from afnet_jax.analysis.gradcam import Explanation, enlarge, explain, stage_of
from afnet_jax.analysis.metrics import tested_folds
from afnet_jax.analysis.report_page import image, picture_cell
from afnet_jax.analysis.run import Run
from afnet_jax.datasets.loading import FaceDataset
from afnet_jax.errors import RunError
from afnet_jax.html_page import paragraph, shaded, table
from afnet_jax.maps import Maps
from afnet_jax.models.architecture import MODALITIES
from afnet_jax.protocol import Fold
from afnet_jax.scans.scan import EXPRESSIONS

_MOST_EXPLAINED = 72  # scans whose importance weights are averaged


def attention_sections(run: Run, data: FaceDataset | None) -> list[tuple[str, str, Callable[[], str]]]:
    """Returns (anchor, heading, maker) of Grad-CAM and importance weights, from one pass over a fold's test scans.

    The fold is the first with a result.
    """
    try:
        if data is None:
            raise RunError("the data set is not at hand")
        fold = _first_trained(run)
        chosen = expression_scans(run, data, fold.round, [fold.fold])[0]
        others = np.setdiff1d(np.flatnonzero(np.isin(data.subjects, fold.test)), chosen)
        scans = np.concatenate([chosen, others])[:_MOST_EXPLAINED]
        maps, labels = jax.tree.map(lambda column: column[scans][None], (data.maps, data.labels))
        explained = explain(run, maps, round=fold.round, folds=[fold.fold], classes=labels)
        if not all(np.isfinite(heat).all() for heat in explained.heat.values()):
            raise RunError(f"the weights of round {fold.round}, fold {fold.fold} are not finite")
    except RunError as error:
        reason = str(error)
        return [("attention", "Where the network looks", lambda: paragraph(f"Not shown: {reason}"))]
    where = f"round {fold.round}, fold {fold.fold}"
    names = data.scan_ids[chosen]
    sections = [("attention", "Where the network looks", lambda: _attention(maps, explained, names, where))]
    if explained.importance:
        sections.append(("importance", "What it weighs", lambda: _importance(explained, labels[0], where)))
    return sections


def _first_trained(run: Run) -> Fold:
    tested = tested_folds(run.predictions)
    for fold in run.splits:
        if (fold.round, fold.fold) in tested:
            return fold
    raise RunError("no training has a result; all of them were given up or are not finished")


def _attention(maps: Maps, explained: Explanation, names: np.ndarray, where: str) -> str:
    size, rows = maps.texture.shape[2], []
    for trunk in sorted(explained.heat, reverse=True):  # texture above depth, as in Fig. 6
        heat = explained.heat[trunk]
        cells = []
        for k, name in enumerate(names):
            face = maps.texture[0, k] if trunk in ("texture", "stacked") else surface(maps.depth[0, k, ..., 0])
            alt = f"Heat of the {trunk} trunk for {EXPRESSIONS[k]} on {name}"
            cells.append(picture_cell(image(overlay(face, enlarge(heat[0, k], size)), alt)))
        rows.append((trunk, *cells))
    stage, edge = stage_of(size), next(iter(explained.heat.values())).shape[-1]
    lead = (
        f"Grad-CAM: bright where the features after Layer{stage} speak for the true expression, on a grid of "
        f"{edge} × {edge}. Each picture is scaled to its own brightest place: it tells where evidence was found, not "
        "how much of it."
    )
    if any((heat[0, : len(names)].max((1, 2)) == 0).any() for heat in explained.heat.values()):
        lead += " In a picture without heat nothing speaks for the expression."
    caption = f"Grad-CAM of the true expression by the network of {where}, which never saw this person"
    return paragraph(lead) + table(caption, ("trunk", *EXPRESSIONS), rows, kind="grid")


def _importance(explained: Explanation, labels: np.ndarray, where: str) -> str:
    first, *others = sorted({key.split("/")[0] for key in explained.importance}, key=MODALITIES.index)
    places = [key.split("/")[1] for key in explained.importance if key.startswith(f"{first}/")]
    rival = " and ".join(others)
    content = paragraph(
        "Importance weights (eq. 2): each channel of a trunk is multiplied by a weight between 0 and 1 before the "
        f"trunks are added. Means over channels and scans; the last column says in how many channels {first} counts "
        f"for more than {rival}."
    )
    for place in places:
        weights = [explained.importance[f"{trunk}/{place}"][0] for trunk in (first, *others)]
        rows = []
        for label, name in [*enumerate(EXPRESSIONS), (None, "all")]:
            own = labels == label if label is not None else np.full(len(labels), True)
            share = float((weights[0][own] > np.max(weights[1:], axis=0)[own]).mean())
            means = [f"{weight[own].mean():.3f}" for weight in weights]
            rows.append((name, *means, shaded(f"{100 * share:.1f} %", share)))
        stage = place.removeprefix("layer").split("_")[0]
        caption = f"After Layer{stage}, {where}, {len(labels)} test scans"
        content += table(caption, ("expression", first, *others, f"{first} above {rival}"), rows, kind="shares")
    return content
