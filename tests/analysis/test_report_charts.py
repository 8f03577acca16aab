"""Charts are read back from their SVG: where a line stands is what its axis says."""

import itertools
import re
import xml.etree.ElementTree as ElementTree

import matplotlib
import numpy as np
import pytest
from PIL import ImageFont

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


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["network", "landmarks", "depth", "texture", "both", "together"], True),
        ([f"F{k:04d}" for k in range(11)], True),
        ([f"volunteer_{k}" for k in range(12)], False),
    ],
)
def test_names_under_bars_keep_clear_of_one_another(names, shown):
    """By the widths of DejaVu Sans, a wide face that browsers take where they have no other."""
    chart = _Chart(report_charts.bars("Accuracy", [(name, 0.5) for name in names], y_label="accuracy"))
    under = [t for t in chart.root.iter("text") if t.text in names]
    assert [t.text for t in under] == (names if shown else [])
    face = f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf"
    ends = []
    for name in under:
        letters = float(re.fullmatch(r"font-size:([\d.]+)px", name.get("style"))[1])
        half = ImageFont.truetype(face, letters).getlength(name.text) / 2
        ends.append((float(name.get("x")) - half, float(name.get("x")) + half))
        assert 8 <= letters <= 11
    assert all(right + 2 < left for (_, right), (left, _) in itertools.pairwise(ends))


@pytest.mark.parametrize("count", [1, 2, 7, 12])
def test_no_tick_is_left_out_among_a_few(count):
    curve = report_charts.Curve(np.arange(1, count + 1), *np.full((3, count), 0.5))
    chart = _Chart(report_charts.lines("Loss", {"loss": curve}, x_label="epoch", y_label="loss"))
    assert [number for _, number in chart._x] == list(range(1, count + 1))
    chart = _Chart(report_charts.spread("Rounds", [0.5] * count, [[0.5]] * count, x_label="round"))
    assert [number for _, number in chart._x] == list(range(count))


def _dots(chart, kind):
    """Places and areas of the dots of a kind, in pixels."""
    circles = [c for c in chart.root.iter("circle") if c.get("class") == f"dot {kind}"]
    return np.array([[float(c.get(name)) for name in ("cx", "cy", "r")] for c in circles]).T


def test_dots_of_a_reliability_diagram_stand_where_its_axes_say():
    before, after = [(0.35, 0.2, 10), (0.95, 0.7, 90)], [(0.5, 0.5, 100)]
    chart = _Chart(report_charts.reliability("Calibration", {"as trained": before, "scaled": after}))
    ticks = [t for t in chart.root.iter("text") if re.fullmatch(r"\d+ %", t.text) and float(t.get("y")) > 270]
    across = [(float(t.get("x")), float(t.text.rstrip(" %"))) for t in ticks]
    for kind, rows in (("first", before), ("second", after)):
        x, y, radius = _dots(chart, kind)
        np.testing.assert_allclose(chart._read(across, x), [100 * row[0] for row in rows], atol=0.1)
        np.testing.assert_allclose(chart._read(chart._y, y), [100 * row[1] for row in rows], atol=0.2)
        assert (np.diff(radius) > 0).all()
    (diagonal,) = [p for p in chart.root.iter("path") if p.get("class") == "even"]
    (left, low), (right, high) = np.array(re.findall(r"([-\d.]+) ([-\d.]+)", diagonal.get("d")), float)
    np.testing.assert_allclose([chart._read(across, left), chart._read(across, right)], [0, 100], atol=0.1)
    np.testing.assert_allclose([chart._read(chart._y, low), chart._read(chart._y, high)], [0, 100], atol=0.2)


@pytest.mark.parametrize("rounds", [2, 100])
def test_rounds_and_their_folds_stand_at_their_accuracies(rounds):
    rng = np.random.default_rng(0)
    per_fold = rng.uniform(0.62, 0.88, (rounds, 5))
    svg = report_charts.spread("Rounds", per_fold.mean(1).tolist(), per_fold.tolist(), x_label="round")
    chart = _Chart(svg)
    np.testing.assert_allclose(chart._read(chart._y, _dots(chart, "first")[1]), 100 * per_fold.mean(1), atol=0.2)
    np.testing.assert_allclose(chart._read(chart._y, _dots(chart, "second")[1]), 100 * per_fold.ravel(), atol=0.2)
    np.testing.assert_allclose(chart._read(chart._x, _dots(chart, "first")[0]), np.arange(rounds), atol=0.05)
    assert {tick for _, tick in chart._y} == {60, 70, 80, 90, 100}


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_equal_rounds_have_a_chart_too(share):
    chart = _Chart(report_charts.spread("Rounds", [share] * 2, [[share]] * 2, x_label="round"))
    np.testing.assert_allclose(chart._read(chart._y, _dots(chart, "first")[1]), 100 * share, atol=0.2)
