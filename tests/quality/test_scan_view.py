"""Pages and pictures of raw scans."""

import dataclasses
import io
import sys

import numpy as np
import pytest
from PIL import Image

from afnet_jax.commands import view
from afnet_jax.preprocessing import preprocess
from afnet_jax.preprocessing.pipeline import preprocess_given
from afnet_jax.quality.scan_view import EDGE, view_scans
from afnet_jax.quality.scan_view_page import to_html
from afnet_jax.scans import ScanError, bosphorus
from afnet_jax.synthetic import make_scan


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A scan, one without landmarks, and a file that is broken."""
    folder = tmp_path_factory.mktemp("raw")
    scan, _ = make_scan(1, "HA", None, database="bosphorus", seed=3)
    path = bosphorus.write_scan(scan, folder)
    (path.with_name("bs999_N_N_0.bnt")).write_bytes(b"broken")
    return folder


@pytest.fixture(scope="module")
def views(folder):
    paths = sorted(folder.rglob("*.bnt"))
    return list(view_scans([*paths, ScanError("gone.obj", "no such file or folder")], preprocess))


def test_a_scan_is_drawn_and_described(views):
    drawn = views[0]
    assert not drawn.fault and list(drawn.pictures) == ["surface", "texture", "depth", "masks", "landmarks"]
    pictures = {name: np.asarray(Image.open(io.BytesIO(data))) for name, data in drawn.pictures.items()}
    assert all(picture.shape == (EDGE, EDGE, 3) for picture in pictures.values())
    assert (pictures["surface"].max(axis=-1) > 40).mean() > 0.3  # it fills its picture
    assert "given" in dict(drawn.facts)["landmarks"]
    yellow = (pictures["landmarks"].astype(int) - pictures["texture"]).clip(0).sum()
    assert yellow > 1000


def test_faults_keep_their_place(views):
    assert [bool(view.fault) for view in views] == [False, True, True]
    assert not views[1].pictures and "no such file" in views[2].fault


def test_where_no_face_is_known_the_surface_is_still_shown(folder):
    (path,) = folder.rglob("bs001*.bnt")

    def none(scan):
        return preprocess_given(dataclasses.replace(scan, landmarks={}))

    (refused,) = view_scans([path], none)
    assert "no landmarks" in refused.fault and list(refused.pictures) == ["surface"]


def test_the_page_shows_scans_and_lists_faults(views):
    page = to_html(views)
    assert page.count("<img") == 5 and "1 of 3 scans can be used" in page
    assert "gone.obj" in page and "http" not in page.replace("http://www.w3.org", "")


def call(monkeypatch, *arguments) -> int:
    monkeypatch.setattr(sys, "argv", ["afnet view", *map(str, arguments)])
    try:
        return view.main()
    except SystemExit as stop:
        return int(stop.code or 0)


@pytest.mark.parametrize("name", ["look.html", "look.png"])
def test_the_command_writes_what_can_be_drawn(folder, tmp_path, monkeypatch, capsys, name):
    assert call(monkeypatch, folder, f"--out={tmp_path / name}") == 1
    printed = capsys.readouterr()
    assert printed.out.split() == [str(tmp_path / name)]
    assert "bs999_N_N_0.bnt" in printed.err and "Traceback" not in printed.err
    if name.endswith(".png"):
        assert np.asarray(Image.open(tmp_path / name)).std() > 20


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["--out=look.html"], 2, "SCAN"),
        (["face.obj", "--out=look.txt"], 2, "ends in none of .html, .png"),
        (["face.obj", "--out=look.html", "--landmarks=guess"], 2, "expected one of auto, given, found"),
        (["face.obj", "--out=look.html", "--reader=none.py"], 1, "no such file, or no .py"),
        (["nowhere.obj", "--out=look.html"], 1, "no such file or folder"),
        ([__file__, "--out=look.html"], 1, "found a .py file, expected"),
    ],
)
def test_wrong_arguments_are_told_in_one_line(tmp_path, monkeypatch, capsys, arguments, status, told):
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, *arguments) == status
    error = capsys.readouterr().err
    assert told in error and "Traceback" not in error
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_written_is_told(folder, tmp_path, monkeypatch, capsys):
    (path,) = folder.rglob("bs001*.bnt")
    assert call(monkeypatch, path, f"--out={tmp_path / 'no' / 'such' / 'look.html'}") == 1
    assert "there is no folder" in capsys.readouterr().err
    (tmp_path / "look.html").mkdir()
    assert call(monkeypatch, path, f"--out={tmp_path / 'look.html'}") == 1
    assert "cannot be written" in capsys.readouterr().err


def test_no_file_of_a_scan_is_written_over(folder, monkeypatch, capsys):
    (path,) = folder.rglob("bs001*.bnt")
    before = path.with_suffix(".png").read_bytes()
    assert call(monkeypatch, path, f"--out={path.with_suffix('.png')}") == 1
    assert f"belongs to the scan {path.name} and would be lost" in capsys.readouterr().err
    assert path.with_suffix(".png").read_bytes() == before
