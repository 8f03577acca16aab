"""Inspection of a prepared data set: its contents, and the scans that look odd.

A scan is odd where a figure of it stands off the median of its expression by more than 3.5 robust standard
deviations, the modified z-score of Iglewicz and Hoaglin (How to Detect and Handle Outliers, 1993), or where it repeats
another scan.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from afnet_jax.datasets import digests
from afnet_jax.datasets.builder import read_records
from afnet_jax.datasets.records import VERSION, dataset_folder, prepared_names
from afnet_jax.datasets.rejected import REJECTED, Rejection, read_rejected
from afnet_jax.errors import DatasetError
from afnet_jax.geometry.alignment import TEMPLATE, WEIGHTS
from afnet_jax.paths import user_path
from afnet_jax.quality import thumbnails
from afnet_jax.scans.scan import EXPRESSIONS, LANDMARKS
from afnet_jax.sha256 import digest_of

ODD = 3.5  # modified z-score beyond which a scan is odd
FEWEST = 6  # scans from which a median and a spread can be told

_PREPARE = "make one with afnet prepare, or name its --data_dir"
_PLACES = np.array([TEMPLATE[name] for name in LANDMARKS])
_WEIGHTS = np.array([WEIGHTS[name] for name in LANDMARKS])


class Measure(NamedTuple):
    """A figure by which a scan can be odd.

    Attributes:
        key: its name in FaceMaps.quality or in `measure`.
        name: as people read it.
        form: how a value is written.
        side: +1 where only large values are odd, -1 where only small ones are, 0 where both are.
        least: the least robust standard deviation assumed: smaller differences do not matter.
        meaning: what it tells.
    """

    key: str
    name: str
    form: str
    side: int
    least: float
    meaning: str


MEASURES = (
    Measure("filled", "holes filled", "{:.1%}", +1, 0.005, "share of the face without a scanned surface"),
    Measure("noise", "roughness", "{:.2f} mm", +1, 0.02, "how far points stand off the surface around them"),
    Measure("points_removed", "outliers", "{:.1%}", +1, 0.003, "share of the scan's points left out as outliers"),
    Measure("inner_lost", "inner face lost", "{:.1%}", +1, 0.005, "share of the inner face that was dropped"),
    Measure("face", "face", "{:.1%}", 0, 0.01, "share of the picture that the face fills"),
    Measure("turn", "head turn", "{:.1f}°", +1, 1.0, "angle between the head as scanned and the frontal pose"),
    Measure(
        "residual", "landmarks", "{:.1f} mm", +1, 0.3, "distance of the landmarks from a mean face's, weighted RMS"
    ),
    Measure("contrast", "contrast", "{:.0f}", -1, 4.0, "standard deviation of the texture's grey values, of 255"),
)


@dataclasses.dataclass(frozen=True)
class InspectedScan:
    """One scan of the set.

    Attributes:
        scan_id: its name.
        subject: who.
        expression: one of EXPRESSIONS.
        level: 0 where the database has none.
        sex: "" where the database has none.
        ethnicity: "" where the database has none.
        figures: by the keys of MEASURES; NaN where not known.
        farthest: the landmark that weighs most in the residual.
        content: digest of its depth.
        picture: WebP of texture, depth, masks and landmarks, thumbnails.STRIP pixels.
    """

    scan_id: str
    subject: str
    expression: str
    level: int
    sex: str
    ethnicity: str
    figures: Mapping[str, float]
    farthest: str
    content: str
    picture: bytes


class Spread(NamedTuple):
    """Distribution of a figure over the set.

    Attributes:
        medians: by expression, as an open mouth is no fault of a surprise; the set's where an expression has too few.
        deviation: robust standard deviation about them.
    """

    medians: Mapping[str, float]
    deviation: float

    def score(self, scan: InspectedScan, measure: Measure) -> float:
        """The scan's modified z-score, positive towards the odd side; NaN where the figure is not known."""
        score = (scan.figures.get(measure.key, np.nan) - self.medians[scan.expression]) / self.deviation
        return abs(score) if measure.side == 0 else measure.side * score


class Oddity(NamedTuple):
    """Reason why a scan looks odd, and its modified z-score; inf for a repeated scan."""

    score: float
    reason: str


@dataclasses.dataclass(frozen=True)
class Inspection:
    """The result of an inspection.

    Attributes:
        name: the database's.
        folder: the data set's.
        scans: sorted by scan_id.
        spreads: by the keys of MEASURES; only figures that the scans have.
        oddities: scan_id -> why it looks odd, the worst first; scans sorted by their worst.
        rejected: the files that the folder's last preparation left out; None where no list of them is kept.
    """

    name: str
    folder: Path
    scans: tuple[InspectedScan, ...]
    spreads: Mapping[str, Spread]
    oddities: Mapping[str, tuple[Oddity, ...]]
    rejected: tuple[Rejection, ...] | None


def inspect(data_dir: str | Path, database: str | None = None) -> Inspection:
    """Looks at a prepared data set.

    Args:
        data_dir: folder of prepared data sets.
        database: which of them; may be left out where there is only one.

    Raises:
        DatasetError: no data set there, several to choose from, or a damaged one.
    """
    data_dir = user_path(data_dir)
    folder = find_dataset(data_dir, database)
    digests.verify(folder)
    scans = tuple(sorted((measure(record) for record in read_records(folder)), key=lambda scan: scan.scan_id))
    spreads = _spreads(scans)
    return Inspection(
        name=folder.parent.name,
        folder=folder,
        scans=scans,
        spreads=spreads,
        oddities=_oddities(scans, spreads),
        rejected=_rejected(data_dir / REJECTED, folder.parent.name),
    )


def find_dataset(data_dir: Path, database: str | None = None) -> Path:
    """The folder data_dir/<database>/<version> of a prepared data set.

    Raises:
        DatasetError: there is none, or several and no choice.
    """
    names = prepared_names(data_dir)
    if not names:
        below = sorted(path.name for path in data_dir.glob("*") if prepared_names(path))  # as synthetic subjects' are
        remedy = f"give as --data_dir what lies below it: {', '.join(below)}" if below else _PREPARE
        raise DatasetError(f"{data_dir}: no prepared data set here, expected a folder DATABASE/{VERSION}; {remedy}")
    if database is None and len(names) > 1:
        raise DatasetError(f"{data_dir}: holds {', '.join(names)}; choose one with --database={names[0]}")
    if database is not None and database not in names:
        raise DatasetError(f"{data_dir}: no prepared data set {database!r} here; found: {', '.join(names)}")
    return dataset_folder(data_dir, database or names[0])


def measure(record: Mapping) -> InspectedScan:
    """The figures and the picture of one record of the data set (fields: see builder.py)."""
    names = {key: record[key].decode() for key in ("scan_id", "subject", "sex", "ethnicity")}
    texture, depth = record["texture"], record["depth"]
    step = float(record["mm_per_pixel"])
    at = (record["landmarks"][:, :2] - record["origin"]) * (1 / step, -1 / step)
    residual, farthest = _residual(record["landmarks"])
    grey = texture[np.isfinite(depth)].astype(np.float32).mean(axis=-1)
    return InspectedScan(
        **names,
        expression=EXPRESSIONS[record["label"]],
        level=int(record["level"]),
        figures={name: figure for name, figure in json.loads(record["quality"]).items() if name != "remarks"}
        | {"turn": _turn(record["to_scan"]), "residual": residual, "contrast": float(grey.std()) if len(grey) else 0.0},
        farthest=farthest,
        content=digest_of(depth),
        picture=thumbnails.strip(texture, depth / step, record["mask56"], at),
    )


def _turn(to_scan: np.ndarray) -> float:
    """The angle of a rigid motion's rotation, degrees."""
    return float(np.degrees(np.arccos(np.clip((np.trace(to_scan[:3, :3]) - 1) / 2, -1, 1))))


def _residual(landmarks: np.ndarray) -> tuple[float, str]:
    """Weighted RMS distance of (22, 3) canonical landmarks from the template, mm, and the landmark that adds most."""
    squared = _WEIGHTS * ((landmarks - _PLACES) ** 2).sum(axis=1)
    known = np.isfinite(squared)
    if not known.any():
        return float("nan"), ""
    return float(np.sqrt(squared[known].sum() / _WEIGHTS[known].sum())), LANDMARKS[int(np.nanargmax(squared))]


def _spreads(scans: Sequence[InspectedScan]) -> dict[str, Spread]:
    expressions = np.array([scan.expression for scan in scans])
    spreads = {}
    for measure in MEASURES:
        values = np.array([scan.figures.get(measure.key, np.nan) for scan in scans])
        known = np.isfinite(values)
        if known.sum() >= FEWEST:
            spreads[measure.key] = _spread(values[known], expressions[known], measure.least)
    return spreads


def _spread(values: np.ndarray, expressions: np.ndarray, least: float) -> Spread:
    own = {name: values[expressions == name] for name in EXPRESSIONS}
    medians = {name: float(np.median(some if len(some) >= FEWEST else values)) for name, some in own.items()}
    away = np.abs(values - [medians[name] for name in expressions])
    # The median distance of a normal distribution's values from their median is 0.6745 standard deviations.
    return Spread(medians, max(float(np.median(away)) / 0.6745, least))


def _oddities(scans: Sequence[InspectedScan], spreads: Mapping[str, Spread]) -> dict[str, tuple[Oddity, ...]]:
    first: dict[str, str] = {}
    found = {}
    for scan in scans:
        same = first.setdefault(scan.content, scan.scan_id)
        odd = [Oddity(float("inf"), f"its depth is that of {same}")] if same != scan.scan_id else []
        odd += [oddity for measure in MEASURES if (oddity := _oddity(scan, measure, spreads.get(measure.key)))]
        if odd:
            found[scan.scan_id] = tuple(sorted(odd, reverse=True))
    return dict(sorted(found.items(), key=lambda item: (-item[1][0].score, item[0])))


def _oddity(scan: InspectedScan, measure: Measure, spread: Spread | None) -> Oddity | None:
    if spread is None or not (score := spread.score(scan, measure)) > ODD:
        return None
    where = f", above all {scan.farthest.replace('_', ' ')}" if measure.key == "residual" else ""
    value = measure.form.format(scan.figures[measure.key])
    usual = measure.form.format(spread.medians[scan.expression])
    return Oddity(float(score), f"{measure.name} {value}, usually {usual}{where} ({score:.1f} deviations)")


def _rejected(path: Path, database: str) -> tuple[Rejection, ...] | None:
    rejected = read_rejected(path)
    return rejected and tuple(each for each in rejected if each.database in (database, ""))
