"""Parts of a run's report beyond those of every page of the project: numbers, charts, faces."""

from __future__ import annotations

import html
import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from afnet_jax import html_page
from afnet_jax.html_page import Section, Shaded, inline_image

_STYLE = """
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 21rem), 1fr)); gap: 1rem; }
svg { width: 100%; max-width: 34rem; height: auto; display: block; }
svg text { fill: var(--soft); font-size: 11px; font-family: inherit; } svg .axis { stroke: var(--line); }
svg .first { stroke: var(--first); } svg .second { stroke: var(--second); } svg path { fill: none; stroke-width: 2; }
svg .band { stroke: none; opacity: .18; } svg .band.first, svg .dot.first { fill: var(--first); stroke: none; }
svg .band.second, svg .dot.second { fill: var(--second); stroke: none; }
svg path.even { stroke: var(--soft); stroke-width: 1; stroke-dasharray: 4 3; }
svg text.first { fill: var(--first); stroke: none; }
svg text.second { fill: var(--second); stroke: none; } svg .bar { fill: var(--first); }
svg .bar.paler { fill: color-mix(in srgb, var(--first) 45%, var(--paper)); }
.faces { display: grid; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); gap: 1rem;
  padding: 0; margin: 1rem 0; list-style: none; }
.faces img, .grid img { display: block; width: 100%; height: auto; aspect-ratio: 1; background: #000;
  border-radius: .25rem; }
.faces .pair { display: grid; grid-template-columns: 1fr 1fr; gap: .25rem; }
table.grid td, table.grid th { border: 0; padding: .15rem; text-align: center; vertical-align: middle; }
table.grid td { width: 8rem; min-width: 4.5rem; }
@media print { .charts { grid-template-columns: 1fr 1fr; } svg { max-width: 22rem; } .faces { gap: .5rem;
  grid-template-columns: repeat(4, 1fr); } table.grid td { width: 6rem; } }
"""


class Number(NamedTuple):
    """A number that stands in summary.json: shown rounded, kept exactly.

    Attributes:
        key: where it stands, such as "accuracy.mean".
        value: as it stands there.
        text: as it is shown.
    """

    key: str
    value: float
    text: str

    def __html__(self) -> str:
        return f'<data value="{self.value!r}" data-key="{html.escape(self.key)}">{html.escape(self.text)}</data>'


def page(title: str, lead: str, sections: Sequence[Section]) -> str:
    """The whole report; arguments as html_page.page takes them."""
    footer = "Written by afnet_jax from the files that lie beside this page."
    return html_page.page(title, lead, sections, footer=footer, style=_STYLE)


def picture_cell(image: str) -> Shaded:
    """A cell that holds a picture."""
    return Shaded(f"<td>{image}</td>")


def image(pixels: np.ndarray, alt: str, *, size: int = 112) -> str:
    """(S, S, 3) uint8 as an inline JPEG of at most `size` pixels."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((size, size))
    file = io.BytesIO()
    picture.save(file, format="JPEG", quality=80)
    return inline_image(file.getvalue(), "jpeg", picture.size, alt)
