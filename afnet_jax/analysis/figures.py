"""Figs. 4 to 6 of the paper, and pictures of single faces with what the network looks at.

Shapes: F folds, N scans, S the images' edge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from afnet_jax.analysis import paper
from afnet_jax.analysis.gradcam import Explanation, enlarge, explain
from afnet_jax.analysis.metrics import tested_folds
from afnet_jax.analysis.prediction import Prediction
from afnet_jax.analysis.run import Run
from afnet_jax.datasets.loading import FaceDataset
from afnet_jax.datasets.reduction import stack
from afnet_jax.errors import RunError
from afnet_jax.maps import Maps
from afnet_jax.models.architecture import architecture_of
from afnet_jax.models.fusion import fusion_of
from afnet_jax.paths import user_path
from afnet_jax.preprocessing.pipeline import PreprocessingConfig
from afnet_jax.quality.thumbnails import relief
from afnet_jax.scans.scan import EXPRESSION_CODES, EXPRESSIONS

_HEAT = matplotlib.colormaps["inferno"]
_BLUE, _GREY = "#2b6cb0", "#718096"
_GRID = PreprocessingConfig().grid
_GRID_WIDTH = _GRID.size * _GRID.step  # mm that the images span, whatever their size
MOST_ROWS = 40  # of a picture of predictions
_STYLE: dict[Any, Any] = {"font.size": 9, "axes.titlesize": 10, "axes.spines.top": False, "axes.spines.right": False}


def save(figure: Figure, path: Path) -> None:
    """Writes a figure as .png and as .pdf beside it."""
    for suffix in (".png", ".pdf"):
        figure.savefig(path.with_suffix(suffix), dpi=200, bbox_inches="tight")


def to_pixels(figure: Figure) -> np.ndarray:
    """(H, W, 3) uint8 of a figure."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def confusion_matrices(runs: Mapping[str, Run]) -> Figure:
    """Fig. 4: rows the true expression, cells in percent of it; one panel for each run.

    Args:
        runs: by the panel's title.
    """
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(3.9 * len(runs), 4.1), layout="constrained")
        for axes, (title, run) in zip(figure.subplots(1, len(runs), squeeze=False)[0], runs.items(), strict=True):
            _draw_confusion(axes, np.array(run.summary["confusion"]))
            axes.set_title(f"{title}\n{_accuracy(run)}")
        return figure


def _draw_confusion(axes, counts: np.ndarray) -> None:
    shares = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    axes.set_xticks(range(6), EXPRESSION_CODES)
    axes.set_yticks(range(6), EXPRESSION_CODES)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for row, col in np.ndindex(6, 6):
        colour = "white" if shares[row, col] > 55 else "black"
        axes.text(col, row, f"{shares[row, col]:.1f}", ha="center", va="center", color=colour, fontsize=8.5)


def _accuracy(run: Run) -> str:
    mean = run.summary["accuracy"]["mean"]
    return "no complete round" if mean is None else f"{100 * mean:.2f} %"


def fusion_positions(runs: Mapping[str, Run], database: str) -> Figure:
    """Fig. 5: accuracy by the layers that fuse, ± the sample standard deviation over rounds; the paper's if legible.

    Runs without a complete round have no bar.
    """
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(4.6, 3.1), layout="constrained")
        axes = figure.subplots()
        there = {row: runs[row.variant] for row in paper.FIG_5 if row.variant and row.variant in runs}
        found = {row: run.summary["accuracy"] for row, run in there.items()}
        rows = {row: accuracy for row, accuracy in found.items() if accuracy["mean"] is not None}
        means = [100 * accuracy["mean"] for accuracy in rows.values()]
        spread = [100 * (accuracy["std"] or 0) for accuracy in rows.values()]
        places = np.arange(len(rows))
        bars = axes.bar(places, means, 0.55, yerr=spread, capsize=3, color=_BLUE, ecolor="black", label="here")
        axes.bar_label(bars, [f"{mean:.2f}" for mean in means], padding=3, fontsize=8.5)
        for place, row in zip(places, rows, strict=True):
            if (expected := row.accuracy(database)) is not None:
                axes.hlines(expected, place - 0.4, place + 0.4, color="#c05621", ls="--", label=f"paper {expected:.2f}")
                axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
        axes.set_xticks(places, [row.name for row in rows])
        axes.set_ylabel("accuracy, %")
        heights = [m for m in (*means, *(row.accuracy(database) for row in rows)) if m]
        if heights:  # as in the paper, the axis starts shortly below the lowest bar
            axes.set_ylim(max(0, min(heights) - 3 - max(spread)), min(100, max(heights) + max(spread)) + 1.5)
        return figure


def expression_scans(run: Run, data: FaceDataset, round: int = 0, folds: Sequence[int] | None = None) -> np.ndarray:
    """(F, 6) scans in the data set: of each fold's first test subject who shows all six, the strongest of each.

    Args:
        run, data: the run and its data set.
        round, folds: of whom; all folds of the round by default.

    Raises:
        RunError: a fold without such a subject, or the data set is not the run's.
    """
    chosen = []
    for fold in (f for f in run.splits if f.round == round and (folds is None or f.fold in folds)):
        subjects = (np.flatnonzero(data.subjects == subject) for subject in fold.test)
        scans = next((own for own in subjects if len(np.unique(data.labels[own])) == len(EXPRESSIONS)), None)
        if scans is None:
            raise RunError(
                f"{run.path}: the data set lacks scans of all six expressions of any one subject on whom round "
                f"{fold.round} fold {fold.fold} is tested"
            )
        of_label = [scans[data.labels[scans] == label] for label in range(len(EXPRESSIONS))]
        chosen.append([same[data.levels[same].argmax()] for same in of_label])
    return np.array(chosen)


def heat_maps(with_ma: Run, without_ma: Run, data: FaceDataset, round: int = 0) -> dict[str, Figure]:
    """Fig. 6: Grad-CAM of the true expression, a column for each; all folds' computed in one call.

    Folds that either run gave up are left out.

    Returns:
        "fig_6": one subject by the networks that never saw them; "fig_6_mean": the mean over all folds' subjects.

    Raises:
        RunError: no fold of the round has a result in both runs, no weights, or networks of other trunks.
    """
    if lacking := {"texture", "depth"} - set(fusion_of(architecture_of(with_ma.config.model)).trunks):
        raise RunError(f"{with_ma.path}: has no trunk of {' or '.join(sorted(lacking))} to look into")
    both = tested_folds(with_ma.predictions) & tested_folds(without_ma.predictions)
    folds = [fold for fold in with_ma.folds(round) if (round, fold) in both]
    if not folds:
        raise RunError(f"{with_ma.path} and {without_ma.path}: no fold of round {round} has a result in both")
    scans = expression_scans(with_ma, data, round, folds)
    maps = jax.tree.map(lambda column: column[scans], data.maps)
    explained = {
        name: explain(run, maps, round=round, folds=folds, classes=data.labels[scans])
        for name, run in (("without MA", without_ma), ("with MA", with_ma))
    }
    size = maps.texture.shape[2]
    enlarged = _enlarged(explained, size)
    one, mean = ({key: take(heat) for key, heat in enlarged.items()} for take in (lambda h: h[0], lambda h: h.mean(0)))
    faces = {"texture": maps.texture[0], "depth": np.stack([surface(d[..., 0]) for d in maps.depth[0]])}
    averages = {
        "texture": maps.texture.astype(float).mean(0).astype(np.uint8),
        "depth": np.stack([surface(d[..., 0]) for d in maps.depth.reshape(-1, size, size, 1)])
        .reshape(len(folds), 6, size, size, 3)
        .mean(0)
        .astype(np.uint8),
    }
    return {"fig_6": _heat_grid(faces, one), "fig_6_mean": _heat_grid(averages, mean)}


def _enlarged(explained: Mapping[str, Explanation], size: int) -> dict[tuple[str, str], np.ndarray]:
    """(trunk, with or without MA) -> (F, 6, S, S) in [0, 1]."""
    return {
        (trunk, name): np.stack([[enlarge(heat, size) for heat in fold] for fold in found.heat[trunk]])
        for trunk in ("texture", "depth")
        for name, found in explained.items()
    }


def _heat_grid(faces: Mapping[str, np.ndarray], heat: Mapping[tuple[str, str], np.ndarray]) -> Figure:
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(9.4, 1.55 * len(heat)), layout="constrained")
        grid = figure.subplots(len(heat), 6, squeeze=False)
        for axes_row, ((trunk, name), maps) in zip(grid, heat.items(), strict=True):
            for axes, face, warm in zip(axes_row, faces[trunk], maps, strict=True):
                _show(axes, overlay(face, warm))
            axes_row[0].set_ylabel(f"{trunk}\n{name}")
        for axes, expression in zip(grid[0], EXPRESSIONS, strict=True):
            axes.set_title(expression)
        return figure


def _show(axes, image: np.ndarray) -> None:
    axes.imshow(image)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def surface(depth: np.ndarray) -> np.ndarray:
    """(S, S) mm on preprocessing's grid, NaN outside the face -> (S, S, 3) uint8: lit from the upper left."""
    return relief(depth * (depth.shape[0] / _GRID_WIDTH))


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """(S, S, 3) uint8 greyed, with (S, S) heat in [0, 1] over it: the warmer, the more it covers."""
    grey = image.mean(-1, keepdims=True) * 0.75
    cover = (0.75 * np.clip(heat, 0, 1) ** 0.8)[..., None]
    return ((1 - cover) * grey + cover * 255 * _HEAT(0.15 + 0.8 * heat)[..., :3]).astype(np.uint8)


def check_picture_file(path: str | Path) -> None:
    """Refuses a file that no picture can be written to, before there is one.

    Raises:
        RunError: its kind is unknown, or its folder is not there.
    """
    file, kinds = user_path(path), Figure().canvas.get_supported_filetypes()
    if file.suffix[1:].lower() not in kinds:
        raise RunError(f"{path}: is no name for a picture; expected one that ends in .png, .pdf or .svg")
    if not file.parent.is_dir():
        raise RunError(f"{path}: there is no folder {file.parent}; make it, or give another --picture")


def save_prediction_picture(
    run: Run, predictions: Sequence[Prediction], path: str | Path, *, round: int = 0, fold: int | None = None
) -> None:
    """One picture: for each scan its texture, its depth, Grad-CAM of each trunk, and the probabilities.

    Args:
        run, round, fold: whose networks; heat is the mean over them.
        predictions: the first MOST_ROWS are drawn.
        path: see `check_picture_file`.

    Raises:
        RunError: the picture cannot be written.
    """
    predictions = predictions[:MOST_ROWS]
    maps = stack([p.face.maps for p in predictions])
    heat = mean_heat(run, maps, [int(p.probabilities.argmax()) for p in predictions], round=round, fold=fold)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(2.1 * (2 + len(heat)) + 2.6, 2.15 * len(predictions)), layout="constrained")
        widths = [1.0] * (2 + len(heat)) + [1.25]
        rows = figure.subplots(len(predictions), len(widths), squeeze=False, width_ratios=widths)
        for index, (axes, p) in enumerate(zip(rows, predictions, strict=True)):
            texture, shaded = p.face.maps.texture, surface(p.face.maps.depth[..., 0])
            behind = {"texture": texture, "stacked": texture}  # other trunks see the surface alone
            pictures = [texture, shaded]
            pictures += [overlay(behind.get(trunk, shaded), warm[index]) for trunk, warm in heat.items()]
            for place, picture in zip(axes, pictures, strict=False):
                _show(place, picture)
            axes[0].set_ylabel(p.face.name, fontsize=8, parse_math=False)
            _draw_probabilities(axes[-1], p.probabilities)
            axes[-1].set_box_aspect(1 / widths[-1])  # as high as the pictures beside it
        titles = ["texture", "depth", *(f"Grad-CAM, {trunk}" for trunk in heat), "probability"]
        for axes, title in zip(rows[0], titles, strict=True):
            axes.set_title(title)
        try:
            figure.savefig(user_path(path), dpi=120)
        except OSError as error:
            told = f"{path}: the picture cannot be written ({error.strerror}); give another --picture"
            raise RunError(told) from error


def mean_heat(
    run: Run, maps: Maps, classes: Sequence[int], *, round: int = 0, fold: int | None = None
) -> dict[str, np.ndarray]:
    """trunk -> (N, S, S) heat in [0, 1] for N scans' classes: the mean over a round's networks, or one network's."""
    size = maps.texture.shape[1]
    single = jax.tree.map(lambda column: column[None], maps)
    folds = run.folds(round) if fold is None else [fold]
    found = [explain(run, single, round=round, folds=[k], classes=np.array([classes])).heat for k in folds]
    return {
        trunk: np.mean([[enlarge(heat, size) for heat in each[trunk][0]] for each in found], axis=0)
        for trunk in sorted(found[0], reverse=True)  # texture first
    }


def _draw_probabilities(axes, probabilities: np.ndarray) -> None:
    colours = [_BLUE if p == probabilities.max() else _GREY for p in probabilities]
    bars = axes.barh(range(6), 100 * probabilities, color=colours)
    axes.bar_label(bars, [f"{100 * p:.1f} %" for p in probabilities], padding=2, fontsize=8)
    axes.set_yticks(range(6), EXPRESSIONS, fontsize=8)
    axes.set_xlim(0, 125)
    axes.set_xticks([])
    axes.invert_yaxis()
    axes.spines["bottom"].set_visible(False)
