"""The result of an inspection as one self-contained HTML page."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from afnet_jax.errors import DatasetError
from afnet_jax.html_page import (
    Section,
    Shaded,
    inline_image,
    key_figures,
    page,
    paragraph,
    shaded,
    table,
    text,
)
from afnet_jax.paths import user_path
from afnet_jax.quality import thumbnails
from afnet_jax.quality.inspection import FEWEST, MEASURES, ODD, InspectedScan, Inspection
from afnet_jax.scans.scan import EXPRESSIONS

FILE_NAME = "inspection.html"

_SEXES = {"F": "female", "M": "male"}
_ETHNICITIES = {
    "AE": "East Asian", "AM": "Middle Eastern", "BL": "Black", "IN": "Indian", "LA": "Latino", "WH": "White"
}  # fmt: skip
_BINS = 24
_STRIP_ORDER = "Each strip shows texture, depth lit from the upper left, what the masks leave bright, and landmarks."
_STYLE = """
.tables { display: flex; flex-wrap: wrap; gap: 0 2.5rem; } .tables .scroll { min-width: 0; max-width: 100%; }
.tables table { min-width: 13rem; }
ul.scans { list-style: none; padding: 0; margin: .75rem 0; display: grid; gap: 1rem 1.25rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 24rem), 1fr)); }
ul.scans figure { margin: 0; scroll-margin-top: 1rem; } ul.scans img { display: block; width: 100%; height: auto;
  background: #000; border-radius: .25rem; }
ul.scans figcaption { overflow-wrap: anywhere; } ul.scans figcaption b { color: var(--ink); font-weight: 600; }
ul.reasons { margin: .15rem 0 0; padding-left: 1.1rem; list-style: disc; } .odd { color: var(--bad); }
details.subject { border-bottom: 1px solid var(--line); margin: 0; } details.subject summary { padding: .45rem 0; }
figure:target { outline: 3px solid var(--accent); outline-offset: 3px; }
.figures :is(td, th):is(:nth-child(2), :last-child) { text-align: left; } .figures td:last-child { white-space: normal;
  min-width: 12rem; }
svg.bins { width: 9.5rem; height: 1.9rem; display: block; } svg.bins rect { fill: var(--first); }
svg.bins rect.odd { fill: var(--bad); } @media (max-width: 30rem) { svg.bins { width: 5rem; } }
@media print { svg.bins rect { print-color-adjust: exact; -webkit-print-color-adjust: exact; } ul.scans {
  grid-template-columns: 1fr 1fr; } }
"""


def write_page(inspection: Inspection, out: str | Path) -> Path:
    """Writes the page into a folder, which is made if need be.

    Returns:
        The page's file.

    Raises:
        DatasetError: the folder cannot be written to.
    """
    path = user_path(out) / FILE_NAME
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(to_html(inspection), encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise DatasetError(f"{path}: cannot be written ({error.strerror}); name another folder as --out") from None
    return path


def to_html(inspection: Inspection) -> str:
    """The page's text."""
    lead = f"<p>Prepared data set in <code>{text(inspection.folder)}</code></p>{_key(inspection)}"
    sections = [
        Section("odd", "Scans that look odd", _odd(inspection)),
        Section("rejected", "Rejected files", _rejected(inspection)),
        Section("counts", "What is in it", _counts(inspection.scans)),
        Section("figures", "What was measured", _figures(inspection)),
        Section("subjects", "All scans, by subject", _subjects(inspection)),
    ]
    footer = "Written by afnet_jax. The page holds pictures of the people scanned: the database's terms apply to it."
    return page(f"{inspection.name}: the scans", lead, sections, footer=footer, style=_STYLE)


def _key(inspection: Inspection) -> str:
    people = _by_subject(inspection.scans)
    whole = sum(not _missing(scans) for scans in people.values())
    rejected = inspection.rejected
    return key_figures(
        [
            ("scans", len(inspection.scans), f"{len(EXPRESSIONS)} expressions"),
            ("subjects", len(people), f"{whole} with all expressions"),
            ("look odd", len(inspection.oddities), "of these scans"),
            ("rejected", "–" if rejected is None else len(rejected), "no list kept" if rejected is None else "files"),
        ]
    )


def _odd(inspection: Inspection) -> str:
    if not inspection.oddities:
        if len(inspection.scans) < FEWEST:
            return paragraph(f"Fewer than {FEWEST} scans: too few to tell what is odd among them.")
        return paragraph(f"None: no figure is more than {ODD} robust deviations off the median of its expression.")
    scans = {scan.scan_id: scan for scan in inspection.scans}
    items = "".join(_item(scans[name], inspection, linked=True) for name in inspection.oddities)
    remark = (
        f"Over {ODD} robust deviations off what is usual for the expression, the oddest first. Odd need not be bad."
    )
    return f'{paragraph(remark)}{paragraph(_STRIP_ORDER, soft=True)}<ul class="scans">{items}</ul>'


def _item(scan: InspectedScan, inspection: Inspection, *, linked: bool = False) -> str:
    """A scan's strip, name and reasons why it is odd; a link to its place on the page, or that place itself."""
    what = scan.expression + (f" {scan.level}" if scan.level else "")
    anchor = html.escape(f"scan-{scan.scan_id}")
    name = f'<a href="#{anchor}">{text(scan.scan_id)}</a>' if linked else text(scan.scan_id)
    alt = f"{scan.scan_id}: texture, shaded depth, masks and landmarks"
    picture = inline_image(scan.picture, "webp", thumbnails.STRIP, alt)
    reasons = "".join(f"<li>{text(oddity.reason)}</li>" for oddity in inspection.oddities.get(scan.scan_id, ()))
    why = f'<ul class="reasons odd" aria-label="Why it looks odd">{reasons}</ul>' if reasons else ""
    place = "" if linked else f' id="{anchor}"'
    return f"<li><figure{place}>{picture}<figcaption><b>{text(what)}</b> {name}{why}</figcaption></figure></li>"


def _rejected(inspection: Inspection) -> str:
    if inspection.rejected is None:
        return paragraph("The folder keeps no rejected.csv.")
    if not inspection.rejected:
        return paragraph("None: the last preparation in this folder could use every scan.")
    rows = [(row.scan, row.reason, row.file) for row in inspection.rejected]
    caption = "Left out by the last preparation in this folder (rejected.csv)"
    return table(caption, ("scan", "reason", "file"), rows, kind="words")


def _counts(scans: Sequence[InspectedScan]) -> str:
    tables = [
        _expressions(scans),
        _people("sex", scans, lambda scan: _SEXES.get(scan.sex, scan.sex)),
        _people("ethnicity", scans, lambda scan: _ETHNICITIES.get(scan.ethnicity, scan.ethnicity)),
    ]
    without = [name for subject, own in _by_subject(scans).items() if (name := _without(subject, own))]
    missing = paragraph(f"Not every subject shows all expressions: {'; '.join(without)}.") if without else ""
    return f'<div class="tables">{"".join(tables)}</div>{missing}'


def _expressions(scans: Sequence[InspectedScan]) -> str:
    counts = Counter((scan.expression, scan.level) for scan in scans)
    levels = sorted({scan.level for scan in scans})
    most = max(counts.values())
    rows = []
    for expression in EXPRESSIONS:
        own = [counts[expression, level] for level in levels]
        rows.append(
            (expression, *(shaded(count, count / most) for count in own), *([sum(own)] if len(own) > 1 else []))
        )
    heads = [f"level {level}" if level else "scans" for level in levels]
    total = [sum(counts[name, level] for name in EXPRESSIONS) for level in levels]
    rows.append(("all", *total, *([len(scans)] if len(levels) > 1 else [])))
    caption = "Scans of each expression" + (" and level" if levels != [0] else "; the database gives no levels")
    return table(caption, ("expression", *heads, *(["all"] if len(levels) > 1 else [])), rows, kind="shares")


def _people(what: str, scans: Sequence[InspectedScan], of: Callable[[InspectedScan], str]) -> str:
    counts = Counter(of(scan) or "not given" for scan in scans)
    subjects = Counter({scan.subject: of(scan) or "not given" for scan in scans}.values())
    rows = [
        (name, shaded(subjects[name], subjects[name] / subjects.total()), shaded(count, count / len(scans)))
        for name, count in counts.most_common()
    ]
    return table(f"Subjects and scans by {what}", (what, "subjects", "scans"), rows, kind="shares")


def _figures(inspection: Inspection) -> str:
    rows = []
    for measure in MEASURES:
        if spread := inspection.spreads.get(measure.key):
            known = [scan for scan in inspection.scans if np.isfinite(scan.figures.get(measure.key, np.nan))]
            values = np.array([scan.figures[measure.key] for scan in known])
            odd = np.array([spread.score(scan, measure) > ODD for scan in known])
            shown = [measure.form.format(value) for value in (values.min(), np.median(values), values.max())]
            rows.append((measure.name, Shaded(f"<td>{_bins(measure.name, values, odd)}</td>"), *shown, measure.meaning))
    if not rows:
        return paragraph("The scans carry no figures, or are too few to tell a spread.")
    heads = ("figure", "scans", "least", "median", "most", "what it is")
    return table("Histograms over the scans, red where a scan is odd", heads, rows, kind="figures")


def _bins(name: str, values: np.ndarray, odd: np.ndarray) -> str:
    """A histogram; bins that hold an odd scan in another colour."""
    counts, edges = np.histogram(values, _BINS)
    odd_counts = np.histogram(values[odd], edges)[0]
    bars = []
    for index in np.flatnonzero(counts):
        height = max(28 * counts[index] / counts.max(), 3)
        kind = ' class="odd"' if odd_counts[index] else ""
        bars.append(f'<rect{kind} x="{6 * index}" y="{30 - height:.1f}" width="5" height="{height:.1f}"/>')
    label = f"Histogram of {name}: {int(odd.sum())} of {len(values)} scans odd"
    return f'<svg class="bins" viewBox="0 0 {6 * _BINS} 30" role="img" aria-label="{label}">{"".join(bars)}</svg>'


def _subjects(inspection: Inspection) -> str:
    sheets = [_sheet(subject, scans, inspection) for subject, scans in _by_subject(inspection.scans).items()]
    return f"{paragraph(_STRIP_ORDER + ' Choose a subject to see the scans.', soft=True)}{''.join(sheets)}"


def _sheet(subject: str, scans: Sequence[InspectedScan], inspection: Inspection) -> str:
    known = (_SEXES.get(scans[0].sex, scans[0].sex), _ETHNICITIES.get(scans[0].ethnicity, scans[0].ethnicity))
    facts = [*filter(None, known), f"{len(scans)} scans"]
    if missing := _missing(scans):
        facts.append(f"no {', '.join(missing)}")
    odd = sum(scan.scan_id in inspection.oddities for scan in scans)
    mark = f', <span class="odd">{odd} odd</span>' if odd else ""
    ordered = sorted(scans, key=lambda scan: (EXPRESSIONS.index(scan.expression), scan.level, scan.scan_id))
    items = "".join(_item(scan, inspection) for scan in ordered)
    summary = f"<summary><b>{text(subject)}</b> {text(', '.join(facts))}{mark}</summary>"
    return f'<details class="subject">{summary}<ul class="scans">{items}</ul></details>'


def _by_subject(scans: Sequence[InspectedScan]) -> dict[str, list[InspectedScan]]:
    people: dict[str, list[InspectedScan]] = {}
    for scan in sorted(scans, key=lambda scan: scan.subject):
        people.setdefault(scan.subject, []).append(scan)
    return people


def _missing(scans: Sequence[InspectedScan]) -> list[str]:
    shown = {scan.expression for scan in scans}
    return [expression for expression in EXPRESSIONS if expression not in shown]


def _without(subject: str, scans: Sequence[InspectedScan]) -> str:
    missing = _missing(scans)
    return f"{subject} has no {', '.join(missing)}" if missing else ""
