"""Views of raw scans as one self-contained HTML page or one picture."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from PIL import Image

from afnet_jax.errors import DatasetError
from afnet_jax.html_page import Section, inline_image, page, paragraph, table, text
from afnet_jax.paths import user_path
from afnet_jax.quality.scan_view import EDGE, ScanView

MOST_ROWS = 40  # of a picture
_PICTURES = ("surface", "texture", "depth", "masks", "landmarks")
_STYLE = """
ul.views { list-style: none; padding: 0; } ul.views > li { margin: 0 0 2.5rem; }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(48%, 9.5rem), 1fr)); gap: .4rem; }
.pictures figure { margin: 0; } .pictures img { display: block; width: 100%; height: auto; background: #000;
  border-radius: .25rem; } ul.views h3 { overflow-wrap: anywhere; }
ul.remarks { margin: .4rem 0; padding-left: 1.1rem; } ul.remarks li { color: var(--bad); }
"""


def check_page_file(out: str | Path) -> None:
    """Refuses a file whose folder is not there, before the scans have been looked at.

    Raises:
        DatasetError: as it says.
    """
    folder = user_path(out).parent
    if not folder.is_dir():
        raise DatasetError(f"{out}: there is no folder {folder}; make it, or give another --out")


def write_views(views: Sequence[ScanView], out: str | Path) -> Path:
    """Writes the page (.html), or the picture of those that could be drawn, the first 40 (.png).

    Raises:
        DatasetError: the file cannot be written.
    """
    path = user_path(out)
    try:
        if path.suffix.lower() == ".png":
            to_figure(views).savefig(path, dpi=100)
        else:
            path.write_text(to_html(views), encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise DatasetError(f"{path}: cannot be written ({error.strerror}); name another file as --out") from None
    return path


def to_html(views: Sequence[ScanView]) -> str:
    """The page's text."""
    drawn = [view for view in views if view.pictures]
    refused = [(view.path.name, view.fault, view.path.parent) for view in views if view.fault]
    items = "".join(map(_item, drawn))
    order = (
        "Surface: all of the scan, from where its face looks. The others are what a network sees: texture, depth "
        "lit from the upper left, what the masks leave bright, and the landmarks."
    )
    sections = (
        [Section("scans", "Scans", f'{paragraph(order, soft=True)}<ul class="views">{items}</ul>')] if drawn else []
    )
    if refused:
        rows = table("Files that cannot be used", ("file", "reason", "folder"), refused, kind="words")
        sections.append(Section("refused", "Of no use", rows))
    lead = paragraph(f"{len(views) - len(refused)} of {len(views)} scans can be used.")
    footer = "Written by afnet_jax. The page shows the people scanned: see that they agree before you pass it on."
    return page("What is made of these scans", lead, sections, footer=footer, style=_STYLE)


def _item(view: ScanView) -> str:
    pictures = "".join(
        f"<figure>{inline_image(view.pictures[name], 'webp', (EDGE, EDGE), f'{view.path.name}: {name}')}"
        f"<figcaption>{name}</figcaption></figure>"
        for name in _PICTURES
        if name in view.pictures
    )
    warnings = [*([view.fault] if view.fault else []), *view.remarks]
    remarks = f'<ul class="remarks">{"".join(f"<li>{text(line)}</li>" for line in warnings)}</ul>' if warnings else ""
    facts = table(f"{view.path}", ("what", "found"), view.facts, kind="words")
    return f'<li><h3>{text(view.path.name)}</h3><div class="pictures">{pictures}</div>{remarks}{facts}</li>'


def to_figure(views: Sequence[ScanView]) -> Figure:
    """A row for each of the first 40 scans that could be drawn: its pictures and what is known of it."""
    drawn = [view for view in views if view.pictures][:MOST_ROWS]
    with matplotlib.rc_context({"font.size": 9, "axes.titlesize": 10}):
        figure = Figure(figsize=(2.3 * len(_PICTURES) + 3.4, 2.5 * max(len(drawn), 1) + 0.4), layout="constrained")
        widths = [1.0] * len(_PICTURES) + [1.5]
        rows = figure.subplots(max(len(drawn), 1), len(widths), squeeze=False, width_ratios=widths)
        for axes in rows.flat:
            axes.set(xticks=[], yticks=[], frame_on=False)
        for axes, view in zip(rows, drawn, strict=False):
            for place, name in zip(axes, _PICTURES, strict=False):
                if name in view.pictures:
                    place.imshow(Image.open(io.BytesIO(view.pictures[name])))
            axes[-1].text(0, 1, _caption(view), va="top", fontsize=7.5, transform=axes[-1].transAxes, parse_math=False)
        for axes, name in zip(rows[0], _PICTURES, strict=False):
            axes.set_title(name)
        return figure


def _caption(view: ScanView) -> str:
    lines = [view.path.name, *(f"{what}: {value}" for what, value in view.facts)]
    lines += [f"! {line}" for line in (*([view.fault] if view.fault else []), *view.remarks)]
    return "\n".join(line for each in lines for line in textwrap.wrap(each, 58, subsequent_indent="   "))
