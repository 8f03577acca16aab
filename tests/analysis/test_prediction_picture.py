"""The picture of predictions: what stands in a row is of one height."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from afnet_jax.analysis import figures
from afnet_jax.analysis.prediction import Face, Prediction
from afnet_jax.errors import RunError
from afnet_jax.maps import Maps


def predictions() -> list[Prediction]:
    blank = Maps(np.zeros((32, 32, 3), np.uint8), np.zeros((32, 32, 1), np.float16), np.zeros(1), np.zeros(1))
    return [Prediction(Face(Path("a"), name, blank), np.full(6, 1 / 6)) for name in ("first", "second")]


@pytest.mark.parametrize("trunks", [("texture", "depth"), ("depth",)])
def test_probabilities_are_as_high_as_the_pictures_beside_them(trunks, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    monkeypatch.setattr(figures, "mean_heat", lambda *_, **__: dict.fromkeys(trunks, np.zeros((2, 32, 32))))
    figures.save_prediction_picture(None, predictions(), tmp_path / "picture.png")
    (figure,) = drawn
    FigureCanvasAgg(figure).draw()
    extents = [axes.get_window_extent() for axes in figure.axes]
    columns = 2 + len(trunks) + 1
    for row in (extents[:columns], extents[columns:]):
        np.testing.assert_allclose([(e.y0, e.y1) for e in row], [(row[0].y0, row[0].y1)] * columns, atol=1.5)


def test_why_it_cannot_be_written_is_told_in_words(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "mean_heat", lambda *_, **__: {"depth": np.zeros((2, 32, 32))})
    with pytest.raises(RunError, match=r"picture cannot be written \(No such file or directory\); give another --pic"):
        figures.save_prediction_picture(None, predictions(), tmp_path / "nowhere" / "picture.png")
    with pytest.raises(RunError, match=r"Format 'doc' is not supported .*; give FILE.png"):
        figures.save_prediction_picture(None, predictions(), tmp_path / "picture.doc")
