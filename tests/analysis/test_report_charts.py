"""Charts are read back from their SVG: where a line stands is what its axis says."""

import itertools
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from afnet_jax.analysis import report_charts


class _Chart:
    """A chart's marks in the units of its axes, which are read from the labels of the ticks."""

    def __init__(self, svg):
        self.root = ElementTree.fromstring(svg)
        texts = [(float(t.get("x")), float(t.get("y")), t.text) for t in self.root.iter("text")]
        self._y = [
            (y - 4, float(word.rstrip(" %"))) for x, y, word in texts if re.fullmatch(r"[\d.]+( %)?", word) and x < 40
        ]
        bottom = max(y for y, _ in self._y)
        self._x = [(x, float(word)) for x, y, word in texts if re.fullmatch(r"\d+", word) and x > 40 and y > bottom]

    def points(self, kind):
        (path,) = [p for p in self.root.iter("path") if p.get("class") == kind]
        places = np.array(re.findall(r"([-\d.]+) ([-\d.]+)", path.get("d")), float)
        return self._read(self._x, places[:, 0]), self._read(self._y, places[:, 1])

    def height(self, rect):
        top, bottom = (self._read(self._y, float(rect.get("y")) + step) for step in (0, float(rect.get("height"))))
        return top - bottom

    def _read(self, ticks, places):
        (first, start), (last, end) = ticks[0], ticks[-1]
        return start + (np.asarray(places) - first) * (end - start) / (last - first)


def test_lines_and_bands_stand_where_the_axes_say():
    epochs, middle = np.array([1, 2, 5, 9]), np.array([0.9, 0.5, 0.25, 0.2])
    curve = report_charts.Curve(epochs, middle, middle - 0.1, middle + 0.05)
    chart = _Chart(report_charts.lines("Loss", {"loss": curve}, x_label="epoch", y_label="loss"))
    x, y = chart.points("first")
    np.testing.assert_allclose(x, epochs, atol=0.02)
    np.testing.assert_allclose(y, middle, atol=0.005)
    x, y = chart.points("band first")  # there above, and back below
    np.testing.assert_allclose(x, [*epochs, *epochs[::-1]], atol=0.02)
    np.testing.assert_allclose(y, [*(middle + 0.05), *(middle - 0.1)[::-1]], atol=0.005)


def test_two_curves_in_percent():
    one = report_charts.Curve(np.array([1, 2]), *np.array([[0.5, 1.0]] * 3))
    two = report_charts.Curve(np.array([1, 2]), *np.array([[0.25, 0.75]] * 3))
    svg = report_charts.lines("Accuracy", {"train": one, "test": two}, x_label="epoch", y_label="%", percent=True)
    chart = _Chart(svg)
    np.testing.assert_allclose(chart.points("first")[1], [50, 100], atol=0.3)
    np.testing.assert_allclose(chart.points("second")[1], [25, 75], atol=0.3)
    assert {t.text: t.get("class") for t in chart.root.iter("text")}.items() >= {
        "train": "first",
        "test": "second",
    }.items()


@pytest.mark.parametrize("subjects", [1, 3, 100])
def test_bars_are_as_high_as_their_shares(subjects):
    shares = np.linspace(0.1, 1, subjects)
    names = [f"<{k}>" for k in range(subjects)]
    chart = _Chart(report_charts.bars("Subjects", list(zip(names, shares, strict=True)), y_label="accuracy"))
    rects = list(chart.root.iter("rect"))
    np.testing.assert_allclose([chart.height(r) for r in rects], 100 * shares, atol=0.3)
    assert [r[0].text for r in rects] == [f"<{k}>: {100 * s:.1f} %" for k, s in enumerate(shares)]
    edges = [(float(r.get("x")), float(r.get("x")) + float(r.get("width"))) for r in rects]
    assert all(right <= left for (_, right), (left, _) in itertools.pairwise(edges))
