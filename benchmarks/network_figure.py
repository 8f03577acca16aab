"""AFNet-M as one figure in SVG, for a light page and a dark one: the two trunks, mask attention, fusion, the head.

Sizes are those of 224×224 images. Places are pixels of the drawing, from its upper left corner.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 1080, 344
_UP, _MIDDLE, _DOWN = 72, 180, 288  # rows: the texture trunk, what the trunks share, the depth trunk
_BOX = (104, 60)
_FONT = "-apple-system, 'Segoe UI', 'Noto Sans', Helvetica, Arial, sans-serif"


class Theme(NamedTuple):
    """Colours of a page."""

    text: str
    muted: str
    box: str
    line: str
    texture: str
    depth: str
    mask: str
    fusion: str


LIGHT = Theme("#1f2328", "#59636e", "#ffffff", "#818b98", "#bc4c00", "#0969da", "#1a7f37", "#8250df")
DARK = Theme("#f0f6fc", "#9198a1", "#151b23", "#656c76", "#f0883e", "#58a6ff", "#3fb950", "#bc8cff")


def network_figure(theme: Theme) -> str:
    """Returns the drawing as the text of an SVG file."""
    # The columns' middles.
    given, layer1, mask1, layer2, mask2, layer3, fuse3, layer4, fuse4, head = (
        56, 176, 272, 368, 464, 564, 668, 774, 876, 974,
    )  # fmt: skip
    parts = []
    for row, colour, name, given_size in ((_UP, theme.texture, "texture", "3"), (_DOWN, theme.depth, "depth", "1")):
        parts += [
            _box(theme, given, row, name, f"224×224×{given_size}", colour, filled=True),
            _box(theme, layer1, row, "stem, Layer1", "56×56×64", colour),
            _box(theme, layer2, row, "Layer2", "28×28×128", colour),
            _box(theme, layer3, row, "Layer3", "14×14×256", colour),
            _box(theme, layer4, row, "Layer4", "7×7×512", colour),
            *(_box(theme, at, row, "MA", "γ⊗X + β", theme.mask, width=62) for at in (mask1, mask2)),
            _arrows(theme, row, [given, layer1, mask1, layer2, mask2, layer3], [52, 52, 31, 52, 31, 52]),
        ]
    for at, name, size in ((mask1, "mask-1", "56×56"), (mask2, "mask-2", "28×28")):
        parts += [_mask(theme, at, name, size), _line(theme, at, _MIDDLE - 34, at, _UP + 32)]
        parts += [_line(theme, at, _MIDDLE + 34, at, _DOWN - 32)]
    for at, before, name in ((fuse3, layer3, "M_{3}"), (fuse4, layer4, "M_{4}")):
        parts += [_box(theme, at, _MIDDLE, name, "t_{iw}⊗X_{t} + d_{iw}⊗X_{d}", theme.fusion, width=124, height=56)]
        parts += [
            _bend(theme, before + 52, _UP, at - 22, _MIDDLE - 28),
            _bend(theme, before + 52, _DOWN, at - 22, _MIDDLE + 28),
        ]
    parts += [
        _turn(theme, fuse3 + 22, _MIDDLE - 28, _UP, layer4 - 52),  # the fused features go on in the texture trunk
        _line(theme, layer3 + 52, _DOWN, layer4 - 52, _DOWN),  # the depth trunk goes on with its own
        _box(theme, head + 36, _MIDDLE, "pool, 3 FC", "512–96–96–6", theme.text, width=106),
        _line(theme, fuse4 + 62, _MIDDLE, head - 17, _MIDDLE),
        _text(head + 36, _MIDDLE + 50, "six expressions", 12.5, theme.muted),
        _text((mask1 + mask2) / 2, 24, "mask attention, eq. 1", 12.5, theme.mask),
        _text((fuse3 + fuse4) / 2, 24, "adaptive fusion by importance weights, eq. 2 and 3", 12.5, theme.fusion),
        _text(fuse3, _MIDDLE + 46, "IWC", 11.5, theme.muted),
        _text(fuse4, _MIDDLE + 46, "IWC", 11.5, theme.muted),
    ]
    title = "AFNet-M: two ResNet18 trunks, mask attention after Layer1 and Layer2, fusion after Layer3 and Layer4"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" font-family="{_FONT}">\n'
        f"<title>{title}</title>\n"
        f'<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0.5 7.5 4 0 7.5z" fill="{theme.line}"/></marker></defs>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _box(theme: Theme, x, y, name, below, colour, *, width=_BOX[0], height=_BOX[1], filled=False) -> str:
    fill = f'fill="{colour}" fill-opacity="0.16"' if filled else f'fill="{theme.box}"'
    return (
        f'<rect x="{x - width / 2:g}" y="{y - height / 2:g}" width="{width}" height="{height}" rx="6" {fill} '
        f'stroke="{colour}" stroke-width="1.5"/>'
        + _text(x, y - 4, name, 13.5, theme.text, weight=600)
        + _text(x, y + 15, below, 11.5, theme.muted)
    )


def _mask(theme: Theme, x: float, name: str, size: str) -> str:
    """A face's eyes with brows, nose and mouth, light on dark."""
    spots = [(-9, -9, 6.5, 4.5), (9, -9, 6.5, 4.5), (0, 1, 4, 5.5), (0, 12, 8, 4)]
    drawn = "".join(
        f'<ellipse cx="{x + dx}" cy="{_MIDDLE - 8 + dy}" rx="{rx}" ry="{ry}" fill="#ffffff"/>'
        for dx, dy, rx, ry in spots
    )
    square = (
        f'<rect x="{x - 22}" y="{_MIDDLE - 30}" width="44" height="44" rx="3" fill="#24292f" stroke="{theme.mask}"/>'
    )
    return square + drawn + _text(x, _MIDDLE + 29, f"{name}, {size}", 11.5, theme.muted)


def _arrows(theme: Theme, row: float, centres: list[float], halves: list[float]) -> str:
    """Arrows along a row from each box to the next, given the boxes' middles and half widths."""
    ends = zip(centres, halves, centres[1:], halves[1:], strict=False)
    return "".join(_line(theme, x + half, row, following - its_half, row) for x, half, following, its_half in ends)


def _line(theme: Theme, x1, y1, x2, y2) -> str:
    return _path(theme, f"M{x1:g} {y1:g}L{x2:g} {y2:g}")


def _bend(theme: Theme, x1, y1, x2, y2) -> str:
    """Along the row, then down or up."""
    down = 8 if y2 > y1 else -8
    return _path(theme, f"M{x1:g} {y1:g}H{x2 - 8:g}Q{x2:g} {y1:g} {x2:g} {y1 + down:g}V{y2:g}")


def _turn(theme: Theme, x1, y1, y2, x2) -> str:
    """Up, then along the row."""
    return _path(theme, f"M{x1:g} {y1:g}V{y2 + 8:g}Q{x1:g} {y2:g} {x1 + 8:g} {y2:g}H{x2:g}")


def _path(theme: Theme, along: str) -> str:
    return f'<path d="{along}" fill="none" stroke="{theme.line}" stroke-width="1.5" marker-end="url(#tip)"/>'


def _text(x, y, words: str, size: float, colour: str, *, weight: int = 400) -> str:
    """Words around a place; what stands in _{…} is set lower and smaller."""
    parts, drop = re.split(r"_\{(.*?)\}", escape(words)), round(0.25 * size, 1)
    lowered = [f'<tspan dy="{drop}" font-size="{0.72 * size:.1f}">{part}</tspan>' for part in parts[1::2]]
    raised = [f'<tspan dy="-{drop}">{part}</tspan>' if part else "" for part in parts[2::2]]
    inner = parts[0] + "".join(low + high for low, high in zip(lowered, raised, strict=True))
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size}" font-weight="{weight}" fill="{colour}" '
        f'text-anchor="middle">{inner}</text>'
    )
