"""Charts of a report as inline SVG, coloured by the page's style."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

_WIDTH, _HEIGHT = 380, 230  # as wide as a phone, so that their letters keep their size there
_LEFT, _RIGHT, _TOP, _BOTTOM = 42, 12, 24, 34


class Curve(NamedTuple):
    """A line with a band around it; all (n,)."""

    x: np.ndarray
    middle: np.ndarray
    low: np.ndarray
    high: np.ndarray


def lines(title: str, curves: Mapping[str, Curve], *, x_label: str, y_label: str, percent: bool = False) -> str:
    """At most two curves with their bands.

    Args:
        title: what it shows, for those who do not see it.
        curves: by name.
        x_label, y_label: of the axes.
        percent: y is a fraction, shown in percent from 0 to 100.
    """
    x_end = max(max(float(c.x[-1]) for c in curves.values()), 1)
    top = 1.0 if percent else _nice(max(float(np.nanmax(c.high)) for c in curves.values()))
    place_x = lambda x: _LEFT + (np.asarray(x) - 1) / max(x_end - 1, 1) * (_WIDTH - _LEFT - _RIGHT)  # noqa: E731
    place_y = lambda y: _HEIGHT - _BOTTOM - np.asarray(y) / top * (_HEIGHT - _TOP - _BOTTOM)  # noqa: E731
    drawn = [_y_axis(top, place_y, percent), _x_axis(x_end, place_x, x_label)]
    for kind, (_name, curve) in zip(("first", "second"), curves.items(), strict=False):
        x = place_x(curve.x)
        outline = [*zip(x, place_y(curve.high), strict=True), *zip(x[::-1], place_y(curve.low)[::-1], strict=True)]
        drawn.append(f'<path class="band {kind}" d="{_path(outline)}Z"/>')
        middle = list(zip(x, place_y(curve.middle), strict=True))
        drawn.append(f'<path class="{kind}" d="{_path(middle)}"/>')
        if len(middle) == 1:
            drawn.append(f'<circle class="dot {kind}" cx="{middle[0][0]:.1f}" cy="{middle[0][1]:.1f}" r="3"/>')
    drawn.append(_names(curves))
    drawn.append(f'<text x="4" y="10">{html.escape(y_label)}</text>')
    return _svg(title, drawn)


def bars(title: str, shares: Sequence[tuple[str, float]], *, y_label: str) -> str:
    """A bar for each (name, fraction), from 0 to 100 %."""
    place_y = lambda y: _HEIGHT - _BOTTOM - y * (_HEIGHT - _TOP - _BOTTOM)  # noqa: E731
    step = (_WIDTH - _LEFT - _RIGHT) / max(len(shares), 1)
    drawn = [_y_axis(1.0, place_y, True), f'<text x="4" y="10">{html.escape(y_label)}</text>']
    for index, (name, share) in enumerate(shares):
        x, y = _LEFT + step * (index + 0.12), float(place_y(share))
        height = max(_HEIGHT - _BOTTOM - y, 0.8)
        drawn.append(
            f'<rect class="bar" x="{x:.1f}" y="{y:.1f}" width="{0.76 * step:.1f}" height="{height:.1f}">'
            f"<title>{html.escape(name)}: {100 * share:.1f} %</title></rect>"
        )
        if len(shares) <= 12:
            drawn.append(
                f'<text x="{x + 0.38 * step:.1f}" y="{_HEIGHT - 18}" text-anchor="middle">{html.escape(name)}</text>'
            )
    return _svg(title, drawn)


def _svg(title: str, drawn: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{html.escape(title)}">'
        f"<title>{html.escape(title)}</title>{''.join(drawn)}</svg>"
    )


def _y_axis(top: float, place_y, percent: bool) -> str:
    parts = []
    for tick in np.linspace(0, top, 5):
        y = float(place_y(tick))
        name = f"{100 * tick:.0f} %" if percent else f"{tick:.3g}"
        parts.append(f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{name}</text>')
    return "".join(parts)


def _x_axis(end: float, place_x, label: str) -> str:
    ticks = sorted({round(t) for t in np.linspace(1, end, min(6, int(end)))})
    marks = [f'<text x="{float(place_x(t)):.1f}" y="{_HEIGHT - 18}" text-anchor="middle">{t}</text>' for t in ticks]
    return "".join(marks) + f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 4}" text-anchor="middle">{html.escape(label)}</text>'


def _names(curves: Mapping[str, Curve]) -> str:
    """The curves' names in their colours, above the chart: a legend that needs no boxes."""
    x, parts = _WIDTH - _RIGHT, []
    for kind, name in reversed(list(zip(("first", "second"), curves, strict=False))):
        parts.append(f'<text class="{kind}" x="{x}" y="10" text-anchor="end">{html.escape(name)}</text>')
        x -= 7 * len(name) + 14
    return "".join(parts) if len(curves) > 1 else ""


def _path(points) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points if np.isfinite(x) and np.isfinite(y))


def _nice(value: float) -> float:
    """The next round number from value on."""
    if not np.isfinite(value) or value <= 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(value))
    return float(next(step * power for step in (1, 1.2, 1.6, 2, 2.4, 3, 4, 5, 6, 8, 10) if step * power >= value))
