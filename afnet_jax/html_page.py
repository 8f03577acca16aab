"""Parts of a self-contained HTML page, made for screen readers, phones and print as well."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

_STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #16202c; --soft: #55616e; --line: #d5dbe1; --wash: #f3f5f8;
  --accent: #1d5fbf; --first: #1d5fbf; --second: #b4530a; --good: #1b7240; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --paper: #10161d; --ink: #e4e9ee; --soft: #9fabb7; --line: #303b46;
  --wash: #19222c; --accent: #7db3f7; --first: #7db3f7; --second: #f0a35e; --good: #6fcf97; --bad: #ff8a80; } }
* { box-sizing: border-box; }
html { scroll-behavior: smooth; }
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
header, nav, main, footer { max-width: 66rem; margin: 0 auto; padding: 0 1rem; }
header { padding-top: 2rem; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem; border-bottom: 1px solid var(--line); padding-bottom: .25rem; }
h3 { font-size: 1rem; margin: 1.25rem 0 .25rem; }
p { max-width: 42rem; margin: .5rem 0; }
.soft, figcaption, caption { color: var(--soft); font-size: .875rem; }
a { color: var(--accent); } a:focus-visible, summary:focus-visible, [tabindex]:focus-visible {
  outline: 3px solid var(--accent); outline-offset: 2px; }
.skip { position: absolute; left: -99rem; }
.skip:focus { left: 1rem; top: 1rem; background: var(--paper); padding: .5rem; }
nav ul { list-style: none; padding: 0; margin: 1rem 0 0; display: flex; flex-wrap: wrap; gap: .25rem 1rem; }
.notice { border-left: 4px solid var(--bad); background: var(--wash); padding: .5rem 1rem; margin: 1rem 0; }
dl.key { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .75rem; margin: 1.25rem 0; }
dl.key div { background: var(--wash); border-radius: .5rem; padding: .6rem .8rem; }
dl.key dt { color: var(--soft); font-size: .8rem; } dl.key dd { margin: 0; font-size: 1.3rem; font-weight: 600; }
dl.key dd small { display: block; font-size: .8rem; font-weight: 400; color: var(--soft); }
.scroll { overflow-x: auto; margin: .75rem 0; }
table { border-collapse: collapse; min-width: min(100%, 28rem); font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .35rem; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top; }
th:first-child, td:first-child { text-align: left; padding-left: 0; } thead th { border-bottom: 2px solid var(--line); }
th { font-weight: 600; } tbody th { font-weight: 500; }
table.words td, table.words th { text-align: left; }
table.words td { overflow-wrap: anywhere; } table.words tbody th { white-space: nowrap; }
table.shares td[style] { background: color-mix(in srgb, var(--accent) calc(var(--share) * 45%), transparent);
  print-color-adjust: exact; -webkit-print-color-adjust: exact; min-width: 3.3rem; }
td { white-space: nowrap; } table.words td { white-space: normal; }
@media (max-width: 30rem) { th, td { padding: .3rem .2rem; } table { font-size: .78rem; } table.shares td[style] {
  min-width: 2.5rem; padding: .3rem .1rem; } table.shares { font-size: .72rem; } }
table.shares td small { display: block; color: var(--soft); font-size: .72rem; } table.shares td[style] small {
  color: inherit; }
figure { margin: .5rem 0; } details { margin: .75rem 0; } summary { cursor: pointer; }
footer { padding: 2rem 1rem 3rem; }
/* On paper: light whatever the screen is, as few pages as can be, and of what is collapsed only what was opened. */
@media print { :root { color-scheme: light; --paper: #ffffff; --ink: #16202c; --soft: #55616e; --line: #d5dbe1;
  --wash: #f3f5f8; --accent: #1d5fbf; --first: #1d5fbf; --second: #b4530a; --good: #1b7240; --bad: #b3261e; }
  nav, .skip, details:not([open]) { display: none; } body { font-size: 10pt; } h2 { margin-top: 1.25rem; }
  figure, tr, li, .scroll { break-inside: avoid; } .scroll { overflow: visible; } h2, summary { break-after: avoid; }
  dl.key div, .notice { border: 1px solid var(--line); } }
"""


class Section(NamedTuple):
    """A part of the page: its anchor, its heading and its content as HTML."""

    anchor: str
    heading: str
    content: str


def page(title: str, lead: str, sections: Sequence[Section], *, footer: str, style: str = "") -> str:
    """The whole page.

    Args:
        title: plain text.
        lead: HTML under the title.
        sections: in order.
        footer: plain text.
        style: CSS beyond that of the parts in this module.
    """
    links = "".join(f'<li><a href="#{s.anchor}">{text(s.heading)}</a></li>' for s in sections)
    body = "\n".join(
        f'<section aria-labelledby="{s.anchor}"><h2 id="{s.anchor}">{text(s.heading)}</h2>\n{s.content}\n</section>'
        for s in sections
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{text(title)}</title>
<link rel="icon" href="data:,">
<style>{_STYLE}{style}</style>
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<header><h1>{text(title)}</h1>
{lead}
</header>
<nav aria-label="Sections"><ul>{links}</ul></nav>
<main id="content">
{body}
</main>
<footer class="soft"><p>{text(footer)}</p></footer>
</body>
</html>
"""


def text(value: Any) -> str:
    """Any value as HTML: by its own `__html__` where it has one, escaped otherwise."""
    return value.__html__() if hasattr(value, "__html__") else html.escape(str(value))


def prose(content: str) -> str:
    """Plain text of whole lines as HTML; no line begins with the sign of a percentage."""
    return re.sub(r"(?<=\d) %", "\N{NO-BREAK SPACE}%", text(content))


def counted(number: int, noun: str) -> str:
    """Returns "1 fold", "2 folds"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def paragraph(content: str, *, soft: bool = False) -> str:
    """Plain text as a paragraph."""
    opening = '<p class="soft">' if soft else "<p>"
    return f"{opening}{prose(content)}</p>"


class Shaded(str):
    """A table cell that is ready as HTML."""


def shaded(value: Any, share: float, below: Any = None) -> Shaded:
    """A cell whose ground is the deeper, the nearer share is to 1; with a second, smaller line."""
    second = "" if below is None else f" <small>{text(below)}</small>"
    return Shaded(f'<td style="--share:{share:.3f}">{text(value)}{second}</td>')


def table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, kind: str = "") -> str:
    """A table whose first column names its rows.

    Args:
        caption: what it shows.
        columns: heads.
        rows: of values for `text`, or ready cells from `shaded`.
        kind: class of the table: "words" where cells hold text, "shares" where they are `shaded`.
    """
    heads = "".join(f'<th scope="col">{text(column)}</th>' for column in columns)
    lines = []
    for first, *others in rows:
        cells = "".join(cell if isinstance(cell, Shaded) else f"<td>{text(cell)}</td>" for cell in others)
        lines.append(f'<tr><th scope="row">{text(first)}</th>{cells}</tr>')
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{html.escape(caption)}"><table class="{kind}">'
        f"<caption>{text(caption)}</caption><thead><tr>{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def inline_image(data: bytes, kind: str, size: tuple[int, int], alt: str) -> str:
    """A picture that is part of the page.

    Args:
        data: the picture's file.
        kind: "jpeg", "png" or "webp".
        size: width and height, pixels.
        alt: what it shows, plain text.
    """
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    # Not lazy: print and full-page screenshots would show blanks for what was never scrolled to.
    return f'<img src="{source}" width="{size[0]}" height="{size[1]}" alt="{html.escape(alt)}">'


def figure(content: str, caption: str) -> str:
    """A chart or picture with its caption."""
    return f"<figure>{content}<figcaption>{prose(caption)}</figcaption></figure>"


def details(summary: str, content: str) -> str:
    """Returns a collapsed section."""
    return f"<details><summary>{text(summary)}</summary>{content}</details>"


def key_figures(figures: Sequence[tuple[str, Any, str]]) -> str:
    """The page's most important numbers: (name, value, remark) each."""
    cells = [
        f"<div><dt>{text(name)}</dt><dd>{text(value)}<small>{text(remark)}</small></dd></div>"
        for name, value, remark in figures
    ]
    return f'<dl class="key">{"".join(cells)}</dl>'
