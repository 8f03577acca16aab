"""From a mesh file to a scan: units, landmarks beside it, pictures beside it, any orientation."""

import dataclasses
import json

import numpy as np
import pytest

from afnet_jax.preprocessing import preprocess
from afnet_jax.preprocessing.pipeline import preprocess_given
from afnet_jax.scans import ScanError, read_scan
from afnet_jax.scans.images import write_rgb
from afnet_jax.scans.meshes import named_files
from afnet_jax.scans.scan import LANDMARKS
from afnet_jax.synthetic import make_scan
from tests.support import mesh_files
from tests.support.mesh_files import POINTS, SURFACE, TRIANGLES, UV

TURNS = {
    "z up": np.array([(1, 0, 0), (0, 0, -1), (0, 1, 0)], float),
    "upside down": np.diag([-1.0, -1.0, 1.0]),
    "away": np.diag([-1.0, 1.0, -1.0]),
    "askew": np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0],
}
TURNS["askew"] *= np.linalg.det(TURNS["askew"])


@pytest.fixture(scope="module")
def face():
    """A synthetic face with its landmarks, and nothing that a reader remarks on."""
    return make_scan(0, "HA", 3, database="bu3dfe", seed=5)[0]


def write_face(folder, scan, turn=None, scale=1.0, landmarks=True, winding=1):
    """The scan as an OBJ with its picture, turned and in another unit, with a file of its landmarks."""
    turn = np.eye(3) if turn is None else turn
    (folder / "face.mtl").write_text("newmtl skin\nmap_Kd face.png\n", encoding="utf-8")
    write_rgb(folder / "face.png", scan.texture)
    rows = ["mtllib face.mtl", "usemtl skin"]
    rows += [f"v {x:.7g} {y:.7g} {z:.7g}" for x, y, z in scan.points @ turn.T * scale]
    rows += [f"vt {u:.6f} {1 - v:.6f}" for u, v in scan.uv]
    for points, places in zip(scan.triangles[:, ::winding] + 1, scan.uv_triangles[:, ::winding] + 1, strict=True):
        rows.append("f " + " ".join(f"{p}/{q}" for p, q in zip(points, places, strict=True)))
    path = folder / "face.obj"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    if landmarks:
        places = {name: (turn @ at * scale).tolist() for name, at in scan.landmarks.items() if name in LANDMARKS}
        (folder / "face.landmarks.json").write_text(json.dumps(places), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def maps(face):
    return preprocess(face)


@pytest.mark.parametrize(("turn", "winding"), [("z up", 1), ("upside down", 1), ("away", -1), ("askew", -1)])
def test_a_face_turned_any_way_gives_the_same_maps(tmp_path, face, maps, turn, winding):
    found = preprocess(read_scan(write_face(tmp_path, face, TURNS[turn], winding=winding)))
    both = found.valid & maps.valid
    assert (found.valid != maps.valid).mean() < 2e-3
    assert np.sqrt(np.mean((found.depth - maps.depth)[both] ** 2)) < 0.05
    assert np.abs(found.texture[both].astype(int) - maps.texture[both]).mean() < 1
    np.testing.assert_allclose(found.masks[56], maps.masks[56], atol=0.02)


@pytest.mark.parametrize(("unit", "scale"), [("cm", 0.1), ("m", 0.001)])
@pytest.mark.parametrize("landmarks", [True, False])
def test_units_are_found_and_said(tmp_path, face, unit, scale, landmarks):
    scan = read_scan(write_face(tmp_path, face, scale=scale, landmarks=landmarks))
    np.testing.assert_allclose(scan.points, face.points, atol=1e-2)
    (remark,) = scan.remarks
    assert f" {unit} " in remark and ("landmarks" in remark) == landmarks
    if landmarks:
        np.testing.assert_allclose(scan.landmarks["chin"], face.landmarks["chin"], atol=1e-3)


@pytest.mark.parametrize(("mesh", "factor"), [(1.0, "1000"), (1.0, "10"), (0.001, "0.001")])
def test_landmarks_in_another_unit_than_the_mesh_are_refused(tmp_path, face, mesh, factor):
    path = write_face(tmp_path, face, scale=mesh)
    beside = path.with_suffix(".landmarks.json")
    places = json.loads(beside.read_text())
    beside.write_text(json.dumps({name: [x / float(factor) for x in at] for name, at in places.items()}))
    with pytest.raises(ScanError, match=rf"face\.obj: the landmarks are in another unit .* multiplied by {factor};"):
        read_scan(path)


def test_an_unknown_unit_is_scaled_by_the_landmarks(tmp_path, face):
    scan = read_scan(write_face(tmp_path, face, scale=1 / 48))
    size = np.linalg.norm(scan.points.max(axis=0) - scan.points.min(axis=0))
    assert size == pytest.approx(np.linalg.norm(np.ptp(face.points, axis=0)), rel=0.15)
    assert any("none of mm, cm, m" in remark for remark in scan.remarks)
    assert preprocess(scan).valid.mean() > 0.3


def test_an_unknown_unit_without_landmarks_is_said_to_be_a_guess(tmp_path, face):
    scan = read_scan(write_face(tmp_path, face, scale=1 / 48, landmarks=False))
    # Of the middle 98 % of points, so that a spike does not count.
    assert np.ptp(np.percentile(scan.points, [1, 99], axis=0), axis=0).max() == pytest.approx(250, rel=0.01)
    assert any("unit is unknown" in remark for remark in scan.remarks)


def test_without_landmarks_a_scan_is_read_and_preprocessing_by_given_ones_says_what_is_missing(tmp_path, face):
    scan = read_scan(write_face(tmp_path, face, landmarks=False))
    assert scan.landmarks == {}
    with pytest.raises(ScanError, match=r"face.obj: no landmarks"):
        preprocess_given(scan)


def test_landmarks_as_csv(tmp_path):
    path = mesh_files.write_obj(tmp_path)
    lines = [f"{name},{x},{y},{z}" for name, (x, y, z) in SURFACE.landmarks.items() if name == "nose_tip"]
    (tmp_path / "FACE.Landmarks.csv").write_text("name,x,y,z\n" + "\n".join(lines), encoding="utf-8")
    scan = read_scan(path)
    np.testing.assert_allclose(scan.landmarks["nose_tip"], SURFACE.landmarks["nose_tip"])
    assert list(scan.landmarks) == ["nose_tip"]


@pytest.mark.parametrize("separator", [";", "\t"])
def test_landmarks_as_spreadsheets_write_them(tmp_path, separator):
    path = mesh_files.write_obj(tmp_path)
    rows = [("landmark", "x", "y", "z"), ("nose_tip", *SURFACE.landmarks["nose_tip"])]
    text = "\r\n".join(separator.join(map(str, row)) for row in rows)
    (tmp_path / "face.landmarks.csv").write_text(text, encoding="utf-8")
    np.testing.assert_allclose(read_scan(path).landmarks["nose_tip"], SURFACE.landmarks["nose_tip"])


def test_each_triangle_of_a_double_sided_mesh_counts_once(tmp_path, face):
    plain = read_scan(write_face(tmp_path, face))
    both = [np.stack([each, each[:, ::-1]], axis=1).reshape(-1, 3) for each in (face.triangles, face.uv_triangles)]
    double = read_scan(write_face(tmp_path, dataclasses.replace(face, triangles=both[0], uv_triangles=both[1])))
    np.testing.assert_array_equal(double.triangles, plain.triangles)
    np.testing.assert_array_equal(double.uv_triangles, plain.uv_triangles)


def test_names_that_nothing_uses_are_remarked_on(tmp_path):
    path = mesh_files.write_obj(tmp_path)
    place = SURFACE.landmarks["nose_tip"].tolist()
    (tmp_path / "face.landmarks.json").write_text(json.dumps({"nosetip": place}), encoding="utf-8")
    assert any("nosetip" in remark and "LANDMARKS" in remark for remark in read_scan(path).remarks)
    many = {f"point_{index}": place for index in range(10)}
    (tmp_path / "face.landmarks.json").write_text(json.dumps(many), encoding="utf-8")
    assert any(", point_7 and 2 more;" in remark for remark in read_scan(path).remarks)


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("face.landmarks.json", "[1, 2]", "expected one object"),
        ("face.landmarks.json", '{"nose_tip": [1, 2, 3]', "cut short"),
        ("face.landmarks.json", '{"nose_tip": [1, 2]}', "three numbers"),
        ("face.landmarks.json", '{"nose_tip": [1, 2, NaN]}', "three numbers"),
        ("face.landmarks.json", '{"nose_tip": "here"}', "three numbers"),
        ("face.landmarks.json", '{"chin": [0, 0, 60], "chin": [0, 0, 60]}', "twice"),
        ("face.landmarks.json", '{"chin": [0, 900, 60]}', "off the surface"),
        ("face.landmarks.csv", "chin,1,2", "three numbers"),
        ("face.landmarks.csv", "chin 1 2 3", "three numbers"),
        ("face.landmarks.csv", "", "empty"),
    ],
)
def test_damaged_landmark_files_are_named(tmp_path, name, text, reason):
    path = mesh_files.write_obj(tmp_path)
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(ScanError, match=f"face.*{reason}") as error:
        read_scan(path)
    assert "\n" not in str(error.value)


def test_two_landmark_files_are_refused(tmp_path):
    path = mesh_files.write_obj(tmp_path)
    for name in ("face.landmarks.json", "face.landmarks.csv"):
        (tmp_path / name).write_text("{}", encoding="utf-8")
    with pytest.raises(ScanError, match=r"also in face\.landmarks\.json"):
        read_scan(path)


@pytest.mark.parametrize("from_bottom", [False, True])
def test_a_picture_that_no_material_names(tmp_path, from_bottom):
    """Of the same stem, or alone beside the mesh; which end v begins at is found, as it must not be mirrored."""
    text = mesh_files.obj(lines="")
    if from_bottom:
        text = "\n".join(
            f"vt {row.split()[1]} {1 - float(row.split()[2]):.6f}" if row.startswith("vt ") else row
            for row in text.splitlines()
        )
    path = tmp_path / "face.obj"
    path.write_text(text, encoding="utf-8")
    (tmp_path / "colour map.png").write_bytes(mesh_files.picture())
    scan = read_scan(path)
    np.testing.assert_array_equal(scan.texture, SURFACE.texture)
    np.testing.assert_allclose(scan.uv[scan.uv_triangles], SURFACE.uv[TRIANGLES], atol=1e-5)
    assert any("colour map.png" in remark for remark in scan.remarks)
    (tmp_path / "other.obj").write_text(text, encoding="utf-8")
    assert not read_scan(path).coloured  # whose picture it is, nobody knows


def test_points_that_no_triangle_names_do_not_count(tmp_path):
    text = mesh_files.obj() + "v 99999999 nan 0\n"
    assert len(read_scan(mesh_files.write_obj(tmp_path, text)).points) == len(POINTS)


@pytest.mark.parametrize("winding", [1, -1])
@pytest.mark.parametrize("from_bottom", [False, True])
def test_which_end_v_begins_at_does_not_depend_on_the_winding(tmp_path, winding, from_bottom):
    rows = []
    for row in mesh_files.obj(lines="").splitlines():
        word, *rest = row.split()
        if word == "vt" and from_bottom:
            rest[1] = f"{1 - float(rest[1]):.6f}"
        rows.append(" ".join([word, *(rest[::winding] if word == "f" else rest)]))
    path = tmp_path / "face.obj"
    path.write_text("\n".join(rows), encoding="utf-8")
    (tmp_path / "face.png").write_bytes(mesh_files.picture())
    scan = read_scan(path)
    np.testing.assert_allclose(scan.uv[scan.uv_triangles], UV[TRIANGLES[:, ::winding]], atol=1e-5)


def test_a_mesh_whose_triangles_share_no_points_is_one_surface(tmp_path):
    rows = [f"v {x:.5f} {y:.5f} {z:.5f}" for x, y, z in POINTS[TRIANGLES.ravel()]]
    faces = [f"f {k} {k + 1} {k + 2}" for k in range(1, len(rows), 3)]
    (path := tmp_path / "face.obj").write_text("\n".join([*rows, *faces]), encoding="utf-8")
    assert len(read_scan(path).points) == len(np.unique(TRIANGLES))


def test_a_bust_of_almost_a_metre_is_one_in_mm(tmp_path, face):
    points = np.vstack([face.points, face.points - (0, 650, 0)])  # what stands round a face makes the mesh large
    triangles = np.vstack([face.triangles, face.triangles + len(face.points)])
    places = np.tile(face.uv_triangles, (2, 1))
    both = dataclasses.replace(face, points=points, triangles=triangles, uv_triangles=places)
    path = write_face(tmp_path, both, landmarks=False)
    scan = read_scan(path)
    assert 700 < np.ptp(scan.points[:, 1]) < 1000 and not any("unit" in remark for remark in scan.remarks)


def test_a_picture_beside_that_nothing_names_is_followed(tmp_path):
    path = mesh_files.write_obj(tmp_path, mesh_files.obj(lines=""))
    (tmp_path / "face.mtl").unlink()
    (tmp_path / "face.png").rename(tmp_path / "photo.png")
    assert "photo.png" in " ".join(read_scan(path).remarks)
    assert named_files(path) == [tmp_path / "photo.png"]
