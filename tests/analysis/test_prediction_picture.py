"""The picture of predictions: what stands in a row is of one height."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from afnet_jax.analysis import figures
from afnet_jax.analysis.prediction import Face, Prediction
from afnet_jax.maps import Maps


@pytest.mark.parametrize("trunks", [("texture", "depth"), ("depth",)])
def test_probabilities_are_as_high_as_the_pictures_beside_them(trunks, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    monkeypatch.setattr(figures, "mean_heat", lambda *_, **__: dict.fromkeys(trunks, np.zeros((2, 32, 32))))
    blank = Maps(np.zeros((32, 32, 3), np.uint8), np.zeros((32, 32, 1), np.float16), np.zeros(1), np.zeros(1))
    faces = [Prediction(Face(Path("a"), name, blank), np.full(6, 1 / 6)) for name in ("first", "second")]
    figures.save_prediction_picture(None, faces, tmp_path / "picture.png")
    (figure,) = drawn
    FigureCanvasAgg(figure).draw()
    extents = [axes.get_window_extent() for axes in figure.axes]
    columns = 2 + len(trunks) + 1
    for row in (extents[:columns], extents[columns:]):
        np.testing.assert_allclose([(e.y0, e.y1) for e in row], [(row[0].y0, row[0].y1)] * columns, atol=1.5)
