"""Charts of a report as inline SVG, coloured by the page's style."""

from __future__ import annotations

import html
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

_WIDTH, _HEIGHT = 380, 230  # as wide as a phone, so that their letters keep their size there
_TALL = 300  # height of a chart whose axes have the same unit
_LEFT, _RIGHT, _TOP, _BOTTOM = 42, 12, 24, 34
_LETTERS, _LEAST_LETTERS = 11.0, 8.0  # pixels high, as the page's style has them, and as small as can be read
_LETTER_WIDTH = 0.62  # of their height, on average
_MOST_TICKS = 12  # of an axis that counts: up to there each number has one


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
            drawn.append(_dot(kind, *middle[0], 3))
    drawn.append(_names(curves))
    drawn.append(f'<text x="4" y="10">{html.escape(y_label)}</text>')
    return _svg(title, drawn)


def bars(title: str, shares: Sequence[tuple[str, float]], *, y_label: str, paler: Collection[str] = ()) -> str:
    """A bar for each (name, fraction), from 0 to 100 %, some of them paler than the others.

    Names stand under the bars where there is room for them all, and in any case on the bars as one points at them.
    """
    place_y = lambda y: _HEIGHT - _BOTTOM - y * (_HEIGHT - _TOP - _BOTTOM)  # noqa: E731
    step = (_WIDTH - _LEFT - _RIGHT) / max(len(shares), 1)
    longest = max((len(name) for name, _ in shares), default=1)
    letters = min(_LETTERS, 0.9 * step / (_LETTER_WIDTH * max(longest, 1)))
    drawn = [_y_axis(1.0, place_y, True), f'<text x="4" y="10">{html.escape(y_label)}</text>']
    for index, (name, share) in enumerate(shares):
        x, y = _LEFT + step * (index + 0.12), float(place_y(share))
        height = max(_HEIGHT - _BOTTOM - y, 0.8)
        drawn.append(
            f'<rect class="{"bar paler" if name in paler else "bar"}" x="{x:.1f}" y="{y:.1f}" '
            f'width="{0.76 * step:.1f}" height="{height:.1f}">'
            f"<title>{html.escape(name)}: {100 * share:.1f} %</title></rect>"
        )
        if letters >= _LEAST_LETTERS:
            drawn.append(
                f'<text x="{x + 0.38 * step:.1f}" y="{_HEIGHT - 18}" text-anchor="middle" '
                f'style="font-size:{letters:.1f}px">{html.escape(name)}</text>'
            )
    return _svg(title, drawn)


def reliability(title: str, curves: Mapping[str, Sequence[tuple[float, float, int]]]) -> str:
    """At most two curves of accuracy over confidence, and the diagonal on which both are the same.

    Args:
        title: what it shows, for those who do not see it.
        curves: by name; (confidence, accuracy, number of decisions) of each bin, fractions.
    """
    place_x = lambda x: _LEFT + x * (_WIDTH - _LEFT - _RIGHT)  # noqa: E731
    place_y = lambda y: _TALL - _BOTTOM - np.asarray(y) * (_TALL - _TOP - _BOTTOM)  # noqa: E731
    anchors = ("middle", "middle", "middle", "middle", "end")  # the last would stand out
    ticks = "".join(
        f'<text x="{place_x(t):.1f}" y="{_TALL - 18}" text-anchor="{anchor}">{100 * t:.0f} %</text>'
        for t, anchor in zip(np.linspace(0, 1, 5), anchors, strict=True)
    )
    drawn = [
        _y_axis(1.0, place_y, True),
        ticks,
        f'<text x="{_WIDTH / 2}" y="{_TALL - 4}" text-anchor="middle">probability of the decision</text>',
        '<text x="4" y="10">right</text>',
        f'<path class="even" d="{_path([(place_x(0), float(place_y(0))), (place_x(1), float(place_y(1)))])}"/>',
    ]
    for kind, rows in zip(("first", "second"), curves.values(), strict=False):
        most = max((count for *_, count in rows), default=1)
        drawn.append(f'<path class="{kind}" d="{_path([(place_x(x), float(place_y(y))) for x, y, _ in rows])}"/>')
        drawn += [
            f'<circle class="dot {kind}" cx="{place_x(x):.1f}" cy="{float(place_y(y)):.1f}" '
            f'r="{1.5 + 5 * (count / most) ** 0.5:.1f}"><title>{100 * x:.1f} % given, {100 * y:.1f} % right, '
            f"{count:,} decisions</title></circle>"
            for x, y, count in rows
        ]
    drawn.append(_names(curves))
    return _svg(title, drawn, _TALL)


def spread(title: str, per_round: Sequence[float], per_fold: Sequence[Sequence[float]], *, x_label: str) -> str:
    """A large dot for each round's accuracy, small ones for its folds', and a line at the mean.

    Args:
        title: what it shows, for those who do not see it.
        per_round: fractions.
        per_fold: fractions, of each round's folds.
        x_label: of the axis that counts the rounds from 0.
    """
    every = [share for folds in per_fold for share in folds]
    low = np.floor(10 * min(every)) / 10
    span = 0.2 * max(np.ceil(5 * (max(every) - low) - 1e-9), 1)  # ticks at whole percents
    high = min(low + span, 1.0)
    low = high - span
    place_x = lambda k: _LEFT + (k + 0.5) / len(per_round) * (_WIDTH - _LEFT - _RIGHT)  # noqa: E731
    place_y = lambda y: _HEIGHT - _BOTTOM - (np.asarray(y) - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)  # noqa: E731
    drawn = [_y_axis(high, place_y, True, low), '<text x="4" y="10">accuracy</text>']
    drawn += [
        f'<text x="{place_x(k):.1f}" y="{_HEIGHT - 18}" text-anchor="middle">{k}</text>'
        for k in _ticks(0, len(per_round) - 1)
    ]
    drawn.append(f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 4}" text-anchor="middle">{html.escape(x_label)}</text>')
    mean = float(place_y(np.mean(per_round)))
    drawn.append(f'<path class="even" d="{_path([(_LEFT, mean), (_WIDTH - _RIGHT, mean)])}"/>')
    small, large = (1.6, 2.4) if len(per_round) > 30 else (2.2, 4)
    for k, (share, folds) in enumerate(zip(per_round, per_fold, strict=True)):
        drawn += [_dot("second", place_x(k), float(place_y(of_fold)), small) for of_fold in folds]
        drawn.append(_dot("first", place_x(k), float(place_y(share)), large))
    drawn.append(_names({"round": None, "folds": None}))
    return _svg(title, drawn)


def _dot(kind: str, x: float, y: float, radius: float) -> str:
    return f'<circle class="dot {kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}"/>'


def _svg(title: str, drawn: Sequence[str], height: int = _HEIGHT) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{html.escape(title)}">'
        f"<title>{html.escape(title)}</title>{''.join(drawn)}</svg>"
    )


def _y_axis(top: float, place_y, percent: bool, bottom: float = 0.0) -> str:
    parts = []
    for tick in np.linspace(bottom, top, 5):
        y = float(place_y(tick))
        name = f"{100 * tick:.0f} %" if percent else f"{tick:.3g}"
        parts.append(f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{name}</text>')
    return "".join(parts)


def _x_axis(end: float, place_x, label: str) -> str:
    marks = [
        f'<text x="{float(place_x(t)):.1f}" y="{_HEIGHT - 18}" text-anchor="middle">{t}</text>'
        for t in _ticks(1, int(end))
    ]
    return "".join(marks) + f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 4}" text-anchor="middle">{html.escape(label)}</text>'


def _ticks(first: int, last: int) -> list[int]:
    """The numbers that stand along an axis: all of a few, six of more."""
    count = last - first + 1
    return sorted({round(t) for t in np.linspace(first, last, count if count <= _MOST_TICKS else 6)})


def _names(curves: Mapping[str, Any]) -> str:
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
