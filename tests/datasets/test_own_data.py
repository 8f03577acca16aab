"""The reader that docs/own_data.md shows, on a face whose maps are known."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from afnet_jax.commands import prepare as prepare_command
from afnet_jax.config import default_config, validate
from afnet_jax.datasets.loading import load
from afnet_jax.datasets.preparation import prepare
from afnet_jax.datasets.records import VERSION
from afnet_jax.errors import AFNetError, DatasetError
from afnet_jax.preprocessing import preprocess
from afnet_jax.quality.inspection import inspect
from afnet_jax.scans import find_scans
from afnet_jax.scans.databases import DATABASES, database_of
from afnet_jax.scans.scan import EXPRESSION_CODES
from afnet_jax.synthetic import make_scan
from tests.support import mesh_files
from tests.support.quick_preprocessing import quick_maps

DOCUMENT = Path(__file__).parents[2] / "docs" / "own_data.md"


@pytest.fixture
def reader(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
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
    own = database_of("own", reader)
    ((scan_id, path),) = find_scans(own, folder.parent)
    assert (scan_id.database, scan_id.subject, scan_id.expression) == ("own", "anna", "HA")
    again = preprocess(own.read_scan(path))
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
        database_of("own", path)


@pytest.mark.parametrize(
    ("database", "has_reader", "told"),
    [
        ("own", False, "'own' is unknown; expected one of bosphorus, bu3dfe, mesh, synthetic, or your own"),
        ("bu3df", False, "'bu3df' is unknown; expected one of"),
        ("bu3dfe", True, "'bu3dfe' has its own reader; give your scans another name, such as own"),
        ("../frgc", True, "expected a name of small letters, digits and _"),
        ("FRGC", True, "expected a name of small letters, digits and _"),
    ],
)
def test_a_reader_and_its_database_belong_together(reader, tmp_path, database, has_reader, told):
    with pytest.raises(DatasetError, match=told) as caught:
        prepare(database, tmp_path, tmp_path / "data", reader=reader if has_reader else None)
    assert "\n" not in str(caught.value) and not (tmp_path / "data").exists()


def test_meshes_are_prepared_by_a_naming_rule(tmp_path):
    raw = tmp_path / "raw" / "anna"
    raw.mkdir(parents=True)
    for name in ("happy2", "sad1", "neutral", "notes"):
        (raw / f"{name}.obj").write_text(mesh_files.obj(lines="", uv=False), encoding="utf-8")
    rule = "{subject}/{expression}{level}.obj"
    done = prepare("faces", raw.parent, tmp_path / "data", workers=1, preprocess=quick_maps, naming=rule)
    assert done.prepared == 2 and sum(done.left_out.values()) == 2
    config = default_config()
    config.dataset.update(name="faces", data_dir=str(tmp_path / "data"), image_size=32, levels=(1, 2))
    data = load(config.dataset)
    assert data.scan_ids.tolist() == ["anna_happy2", "anna_sad1"] and set(data.subjects) == {"anna"}
    other = prepare(
        "faces", raw.parent, tmp_path / "data", workers=1, preprocess=quick_maps, naming="{subject}/{expression}*.obj"
    )
    assert other.prepared == 2 and load(config.dataset).levels.tolist() == [0, 0]  # prepared anew by the other rule


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--naming={subject}.obj"], "holds {expression} 0 times"),
        (["--naming={subject}_{expression}.wrl"], "ends in .wrl"),
        (["--naming="], "holds {subject} 0 times"),
        (["--naming={subject}_{expression}.obj", "--reader=my.py"], "not allowed with"),
        (["--naming={subject}_{expression}.obj", "--database=bu3dfe"], "has its own reader"),
        (["--landmarks=some"], "some"),
    ],
)
def test_wrong_arguments_are_told(tmp_path, monkeypatch, capsys, arguments, told):
    always = ["--database=own", f"--raw={tmp_path}", f"--data_dir={tmp_path / 'data'}"]
    monkeypatch.setattr(sys, "argv", ["afnet prepare", *always, *arguments])
    with pytest.raises(SystemExit) as stop:
        prepare_command.main()
    error = capsys.readouterr().err
    assert stop.value.code == 2 and told in error and "Traceback" not in error
    assert not (tmp_path / "data").exists()


def test_a_database_of_another_name_is_prepared_loaded_and_inspected(reader, folder, tmp_path):
    known = dict(DATABASES)
    done = prepare("frgc", folder.parent, tmp_path / "data", workers=1, reader=reader, preprocess=quick_maps)
    assert done.folder == tmp_path / "data" / "frgc" / VERSION and done.prepared == 1
    config = default_config()
    config.dataset.update(name="frgc", data_dir=str(tmp_path / "data"), image_size=32)
    validate(config)
    assert load(config.dataset).scan_ids.tolist() == ["anna_HA_1"]
    assert inspect(tmp_path / "data", "frgc").scans[0].scan_id == "anna_HA_1"
    assert known == DATABASES  # a reader is handed on, not entered


def test_a_name_that_was_never_prepared_is_told_what_there_is(reader, folder, tmp_path):
    prepare("frgc", folder.parent, tmp_path / "data", workers=1, reader=reader, preprocess=quick_maps)
    config = default_config()
    config.dataset.update(name="frgd", data_dir=str(tmp_path / "data"))
    with pytest.raises(
        DatasetError, match=rf"frgd/{VERSION}: no prepared data set here \(.*data holds frgc\); .*--reader=FILE"
    ):
        load(config.dataset)


def test_scans_of_two_readers_are_not_mixed(write_faces, tmp_path):
    reader = write_faces(a_HA_0="")
    (tmp_path / "raw").rename(tmp_path / "raw 1")
    prepare("own", tmp_path / "raw 1", tmp_path / "data", workers=1, preprocess=quick_maps, reader=reader)
    write_faces(b_HA_0="")
    reader.write_text(READER.replace("np.mgrid[:30, :30]", "np.mgrid[:31, :30]"))
    with pytest.raises(DatasetError, match="another version of this program, or of the reader, prepared"):
        prepare_own(tmp_path, reader)
    reader.write_text(READER.replace("import numpy", "# A comment makes no other reader.\nimport numpy"))
    assert prepare_own(tmp_path, reader).kept == 1


def test_a_scan_id_that_raises_is_the_readers_fault(reader, tmp_path):
    reader.write_text("SUFFIXES, read_scan, scan_id = (), None, lambda path, database: path.stem.split('_')[3]")
    with pytest.raises(AFNetError, match=r"my_faces.py: the reader's scan_id fails on this name: IndexError"):
        find_scans(database_of("own", reader), tmp_path)


READER = """
import numpy as np
from pathlib import Path
from afnet_jax.scans import Scan, ScanError, ScanId, bosphorus

SUFFIXES = [".face"]


def scan_id(path, database="own"):
    subject, expression, level = path.stem.split("_")
    level = int(level) if level != "0" else None
    return ScanId(database, subject, expression, level, None, f"{subject}_{expression}_{level}")


def read_scan(path, database="own"):
    fault = path.read_text()
    if fault == "raise":
        raise KeyError("a line\\nand another")
    if fault == "exit":
        raise SystemExit("enough")
    if fault == "none":
        return None
    rows, cols = np.mgrid[:30, :30]
    points = np.stack([4.0 * cols, 4.0 * rows, 0.0 * rows], axis=-1).reshape(-1, 3)
    triangles = bosphorus.grid_triangles(np.arange(900).reshape(30, 30))
    uv = np.stack([cols / 29, 1 - rows / 29], axis=-1).reshape(-1, 2)
    identity = scan_id(path) if fault != "renamed" else ScanId("own", "b", "HA", None, None, "another")
    texture = np.zeros((8, 8, 3)) if fault == "float" else np.zeros((8, 8, 3), np.uint8)
    if fault == "clockwise":
        triangles = triangles[:, ::-1]
    return Scan(identity, points, triangles, uv, triangles, texture, {}, path=path)
"""


@pytest.fixture
def write_faces(tmp_path):
    """Writes a reader and files for it; gives the reader's path."""

    def write(**faces: str) -> Path:
        (tmp_path / "raw").mkdir(exist_ok=True)
        for name, fault in faces.items():
            (tmp_path / "raw" / f"{name}.face").write_text(fault)
        path = tmp_path / "reader.py"
        path.write_text(READER)
        return path

    return write


def prepare_own(tmp_path, reader):
    return prepare("own", tmp_path / "raw", tmp_path / "data", workers=1, preprocess=quick_maps, reader=reader)


def test_each_odd_scan_costs_itself_alone(write_faces, tmp_path):
    reader = write_faces(
        a_HA_0="", a_SA_0="clockwise", b_AN_0="raise", b_DI_0="exit", b_FE_0="none", b_HA_0="renamed", b_SU_0="float"
    )
    done = prepare_own(tmp_path, reader)
    assert done.prepared == 2
    assert {each.scan: each.reason for each in done.rejected} == {
        "b_AN_None": "the reader fails on it: KeyError: 'a line\\nand another'",
        "b_DI_None": "the reader fails on it: SystemExit: enough",
        "b_FE_None": "the reader returns NoneType, expected an afnet_jax.scans.Scan",
        "b_HA_None": "read_scan names it 'another', scan_id 'b_HA_None': make them agree",
        "b_SU_None": "texture: expected (H, W, 3) uint8 RGB, found float64 of shape (8, 8, 3), values 0 to 0; "
        "give np.round(texture * 255).astype(np.uint8)",
    }
    assert done.remarks == {
        "triangles ran clockwise as seen from the camera and were turned round": ["a_SA_None"],
    }
    assert prepare_own(tmp_path, reader).remarks == done.remarks  # also of scans that were ready before


def test_neutral_and_unlabelled_scans_are_counted(write_faces, tmp_path):
    reader = write_faces(a_HA_0="", a_NE_0="", b_NE_0="", **{"c_?_0": ""})
    assert prepare_own(tmp_path, reader).left_out == {
        "faces that show '?', none of AN, DI, FE, HA, SA, SU": 1,
        "neutral faces (NE)": 2,
    }


@pytest.mark.parametrize("name", ["..", "a\\b", ".a"])
def test_ids_that_would_leave_the_folder_are_refused(write_faces, tmp_path, name):
    reader = write_faces(a_HA_0="")
    reader.write_text(READER.replace('f"{subject}_{expression}_{level}"', repr(f"{name}/x")))
    with pytest.raises(AFNetError, match=r"a_HA_0.face: name is .*, expected no leading dot, slash"):
        prepare_own(tmp_path, reader)
    assert {path.name for path in tmp_path.iterdir()} == {"raw", "reader.py"}


@pytest.mark.parametrize("suffixes", ["'.npy'", "(1,)", "('npy',)"])
def test_suffixes_are_checked(write_faces, suffixes):
    reader = write_faces()
    reader.write_text(READER.replace('[".face"]', suffixes))
    with pytest.raises(AFNetError, match=r"SUFFIXES are .* expected such as"):
        database_of("own", reader)


def choose(tmp_path, *levels, modalities=()):
    config = default_config().dataset
    config.update(name="own", data_dir=str(tmp_path / "data"), levels=levels, image_size=32)
    return load(config, modalities)


def test_all_levels_are_prepared_and_chosen_when_loaded(write_faces, tmp_path, capsys):
    names = [f"a_{code}_{level}" for code in EXPRESSION_CODES for level in (1, 2)]
    prepare_own(tmp_path, write_faces(**dict.fromkeys(names, "")))
    assert choose(tmp_path, 1, 2).levels.tolist() == [1, 2] * 6 and not capsys.readouterr().err.count("warning")
    assert choose(tmp_path, 2).levels.tolist() == [2] * 6
    with_normals = choose(tmp_path, 2, modalities=("texture", "normals")).maps
    assert with_normals.normals.shape == (6, 32, 32, 3) and choose(tmp_path, 2).maps.normals is None
    capsys.readouterr()
    assert len(choose(tmp_path, 2, 3, 4).levels) == 6
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: ") and "no scan of level 3, 4" in line and "1 (6 scans), 2 (6 scans)" in line
    with pytest.raises(DatasetError, match=r"no scan of the levels \(3, 4\), but 1 .*--config.dataset.levels=1,2"):
        choose(tmp_path, 3, 4)


def test_scans_without_a_level_always_take_part(write_faces, tmp_path, capsys):
    prepare_own(tmp_path, write_faces(a_HA_0="", a_SA_0="", a_SA_1=""))
    capsys.readouterr()
    assert choose(tmp_path, 3, 4).levels.tolist() == [0, 0]
    assert "no scan of level 3, 4" in capsys.readouterr().err
    assert sorted(choose(tmp_path, 1).levels) == [0, 0, 1]


def test_a_reader_may_define_dataclasses(tmp_path):
    reader = tmp_path / "reader.py"
    lines = [
        "from __future__ import annotations",
        "import dataclasses",
        "@dataclasses.dataclass",
        "class Row:",
        " a: int",
    ]
    reader.write_text("\n".join([*lines, "SUFFIXES = ('.npy',)", "scan_id = read_scan = None", ""]))
    assert database_of("own", reader).main_suffix == ".npy"


def test_a_record_follows_the_picture_that_a_material_names(tmp_path):
    path = mesh_files.write_obj(tmp_path, mesh_files.obj(lines="mtllib scene.mtl\nusemtl skin\n"))
    (tmp_path / "face.mtl").unlink()
    (tmp_path / "tex").mkdir()
    (tmp_path / "face.png").rename(tmp_path / "tex" / "skin 0.png")
    (tmp_path / "scene.mtl").write_text("newmtl skin\nmap_Kd -clamp on tex\\skin 0.png\n", encoding="utf-8")
    files = database_of("faces", naming="{subject}{expression}.obj").files_of(path)
    assert {each.name for each in files} == {"face.obj", "scene.mtl", "skin 0.png"}
