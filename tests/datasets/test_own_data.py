"""The reader that docs/own_data.md shows, on a face whose maps are known."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from afnet_jax.datasets.preparation import prepare
from afnet_jax.errors import AFNetError
from afnet_jax.preprocessing import preprocess
from afnet_jax.scans import databases
from afnet_jax.scans.synthetic import make_scan

DOCUMENT = Path(__file__).parents[2] / "docs" / "own_data.md"


@pytest.fixture(autouse=True)
def no_reader_is_left_behind():
    yield
    databases.DATABASES.pop(databases.OWN, None)


@pytest.fixture
def reader(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert len(code.splitlines()) < 40
    path = tmp_path / "my_faces.py"
    path.write_text(code)
    return path


@pytest.fixture(scope="module")
def maps():
    scan, _ = make_scan(0, "HA", 3, database="bu3dfe", seed=1)
    return preprocess(scan)


@pytest.fixture
def folder(tmp_path, maps):
    """The known face in the document's three files."""
    folder = tmp_path / "raw" / "anna"
    folder.mkdir(parents=True)
    (left, top), step = maps.origin, maps.mm_per_pixel
    places = {name: ((x - left) / step, (top - y) / step) for name, (x, y, _) in maps.landmarks.items()}
    seen = {n: (c, r) for n, (c, r) in places.items() if maps.valid[int(r), int(c)] and "mouth" not in n}
    np.save(folder / "anna_HA_1.npy", maps.depth)
    Image.fromarray(maps.texture).save(folder / "anna_HA_1.png")
    about = {"mm_per_pixel": step, "landmarks": seen}
    (folder / "anna_HA_1.json").write_text(json.dumps(about))
    return folder


def test_the_documents_reader_gives_the_face_that_was_written(reader, folder, maps):
    databases.use_reader(reader)
    ((scan_id, path),) = databases.find_scans("own", folder.parent)
    assert (scan_id.database, scan_id.subject, scan_id.expression) == ("own", "anna", "HA")
    again = preprocess(databases.read_scan(path, "own"))
    both = again.valid & maps.valid
    assert both.sum() > 0.9 * maps.valid.sum()
    assert np.sqrt(np.mean((again.depth - maps.depth)[both] ** 2)) < 1.0  # mm, after an alignment of its own
    assert np.abs(again.texture.astype(float) - maps.texture)[both].mean() < 8


def test_it_is_prepared_by_workers_and_listed_where_it_is_broken(reader, folder, tmp_path):
    (folder / "anna_SU_1.npy").write_bytes(b"no array")
    done = prepare("own", folder.parent, tmp_path / "data", workers=1, reader=reader)
    assert done.prepared == 1
    assert [rejection.scan for rejection in done.rejected] == ["anna_SU_1"]
    assert (tmp_path / "data" / "own").is_dir()


@pytest.mark.parametrize(
    ("code", "told"), [("raise RuntimeError('no')", "RuntimeError: no"), ("SUFFIXES = ()", "lacks scan_id, read_scan")]
)
def test_a_reader_that_is_none(tmp_path, code, told):
    path = tmp_path / "reader.py"
    path.write_text(code)
    with pytest.raises(AFNetError, match=told):
        databases.use_reader(path)


def test_a_reader_and_its_database_belong_together(reader, tmp_path):
    for database, given in (("own", None), ("bu3dfe", reader)):
        with pytest.raises(AFNetError, match="--reader=FILE belongs to --database=own"):
            prepare(database, tmp_path, tmp_path / "data", reader=given)


def test_a_scan_id_that_raises_is_the_readers_fault(reader, tmp_path):
    reader.write_text("SUFFIXES, read_scan, scan_id = (), None, lambda path, database: path.stem.split('_')[3]")
    databases.use_reader(reader)
    with pytest.raises(AFNetError, match=r"my_faces.py: the reader's scan_id fails on this name: IndexError"):
        databases.find_scans("own", tmp_path)
