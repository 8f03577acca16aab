"""The picture of predictions: what stands in a row is of one height."""

import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from afnet_jax.analysis import figures
from afnet_jax.analysis.prediction import Face, Prediction
from afnet_jax.commands import predict
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


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("nowhere/picture.png", r"picture\.png: there is no folder .*nowhere; make it, or give another --picture"),
        ("picture.doc", r"picture\.doc: is no name for a picture; expected one that ends in \.png, \.pdf or \.svg"),
        ("picture", r"picture: is no name for a picture"),
    ],
)
def test_a_file_that_cannot_be_a_picture_is_told_before_there_is_one(file, told, tmp_path):
    figures.check_picture_file(tmp_path / "picture.PNG")
    with pytest.raises(RunError, match=told):
        figures.check_picture_file(tmp_path / file)


def test_the_command_looks_at_the_file_first(tmp_path, monkeypatch, capsys):
    words = ["predict", f"--workdir={tmp_path}", str(tmp_path), f"--picture={tmp_path / 'nowhere' / 'picture.png'}"]
    monkeypatch.setattr(sys, "argv", words)
    assert predict.main() == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "there is no folder" in line
