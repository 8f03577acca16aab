import dataclasses

import numpy as np
import pytest

from afnet_jax.scans import ScanError, bu3dfe, images
from afnet_jax.scans.scan import LANDMARKS
from tests.support import hand_laid
from tests.support.samples import samples_are_given


@pytest.fixture
def path(mesh, tmp_path):
    return bu3dfe.write_scan(mesh, tmp_path)


def test_write_then_read_is_the_identity(mesh, path):
    back = bu3dfe.read_scan(path)
    for name in ("points", "triangles", "uv_triangles", "texture"):
        np.testing.assert_array_equal(getattr(back, name), getattr(mesh, name))
    np.testing.assert_allclose(back.uv, mesh.uv, atol=1e-6)  # the file holds six decimals of 1 - v
    for name in bu3dfe.POINT_NAMES:
        np.testing.assert_array_equal(back.landmarks[name], mesh.landmarks[name])
    assert back.id == mesh.id and back.grid is None and back.path == path
    assert path.parent.name == "F0001" and path.name == "F0001_HA04WH_F3D.wrl"


def test_landmarks_go_to_the_nearest_vertex(mesh, tmp_path):
    off = {name: at + np.array([0.5, -0.4, 0.3]) for name, at in mesh.landmarks.items()}
    back = bu3dfe.read_scan(bu3dfe.write_scan(dataclasses.replace(mesh, landmarks=off), tmp_path))
    for name in bu3dfe.POINT_NAMES:
        np.testing.assert_array_equal(back.landmarks[name], mesh.landmarks[name])


def test_common_names_come_from_the_83_points(path):
    # By the order of a .bnd file: 0 and 4 are the right eye's corners, 18 and 23 the middle of the right brow's edges,
    # 48 and 54 the corners of the mouth, 51 and 57 its outer middle, 75 the chin.
    rows = np.loadtxt(path.with_suffix(".bnd"))[:, 1:]
    landmarks = bu3dfe.read_scan(path).landmarks
    expected = {
        "right_eye_inner": rows[0], "right_eye_outer": rows[4], "left_eye_inner": rows[8], "left_eye_outer": rows[12],
        "right_brow_middle": (rows[18] + rows[23]) / 2, "left_brow_inner": (rows[26] + rows[35]) / 2,
        "mouth_right": rows[48], "mouth_left": rows[54], "upper_lip_outer": rows[51], "lower_lip_outer": rows[57],
        "upper_lip_inner": rows[62], "lower_lip_inner": rows[66], "chin": rows[75],
    }  # fmt: skip
    for name, at in expected.items():
        np.testing.assert_array_equal(landmarks[name], at, err_msg=name)
    assert set(LANDMARKS) - set(landmarks) == {"nose_tip", "right_nose_saddle", "left_nose_saddle"}
    assert len(landmarks) == 83 + len(LANDMARKS) - 3


def test_triangles_are_turned_towards_the_camera(mesh, tmp_path):
    turned = dataclasses.replace(mesh, triangles=mesh.triangles[:, ::-1], uv_triangles=mesh.uv_triangles[:, ::-1])
    back = bu3dfe.read_scan(bu3dfe.write_scan(turned, tmp_path))
    np.testing.assert_array_equal(back.triangles, mesh.triangles)
    np.testing.assert_array_equal(back.uv_triangles, mesh.uv_triangles)


def test_frontal_picture_is_written_beside(mesh, tmp_path):
    frontal = np.full((512, 512, 3), 9, np.uint8)
    path = bu3dfe.write_scan(mesh, tmp_path, frontal=frontal)
    np.testing.assert_array_equal(images.read_rgb(path.parent / "F0001_HA04WH_F2D.bmp"), frontal)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("F0001_AN03WH_F3D.wrl", ("F0001", "AN", 3, "WH", "F0001_AN03WH")),
        ("M0044_NE00AE_F3D.wrl", ("M0044", "NE", None, "AE", "M0044_NE00AE")),
    ],
)
def test_id_comes_from_the_name(tmp_path, name, expected):
    scan_id = bu3dfe.scan_id(tmp_path / "B0009" / name)
    fields = scan_id.subject, scan_id.expression, scan_id.level, scan_id.ethnicity, scan_id.name
    assert fields == expected and scan_id.database == "bu3dfe"


@pytest.mark.parametrize(
    "name", ["F0001_AN03WH_RAW.wrl", "F0001_AN05WH_F3D.wrl", "F0001_NE01WH_F3D.wrl", "F1_AN03WH_F3D.wrl", "a.wrl"]
)
def test_refuses_other_names(tmp_path, name):
    with pytest.raises(ScanError, match="BU-3DFE"):
        bu3dfe.read_scan(tmp_path / name)


def edit(path, old: str, new: str, count: int = 1) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, count))


def test_reads_a_scan_without_its_landmark_file(path):
    path.with_suffix(".bnd").unlink()
    scan = bu3dfe.read_scan(path)
    assert scan.landmarks == {} and scan.frontal
    assert scan.remarks == ("no landmark file (.bnd) beside it",)


def test_refuses_missing_files(path):
    for suffix in (".bmp", ".wrl"):
        path.with_suffix(suffix).rename(path.with_suffix(".gone"))
        with pytest.raises(ScanError, match="missing") as caught:
            bu3dfe.read_scan(path)
        assert caught.value.path == path.with_suffix(suffix)
        path.with_suffix(".gone").rename(path.with_suffix(suffix))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "expected 83 landmarks, found 82"),
        ("1 2 3", "four numbers"),
        ("a b c d", "four numbers"),
        ("5000 {0} {1} {2}", "another mesh"),
        ("-1 {0} {1} {2}", "another mesh"),
        ("nan {0} {1} {2}", "another mesh"),
        ("5 {0} {1} {2}\n5 {0} {1} {2}", "expected 83 landmarks, found 84"),
    ],
)
def test_refuses_landmarks_that_are_not_this_meshs(path, line, message):
    lines = path.with_suffix(".bnd").read_text().splitlines()
    lines[-1] = line.format(*lines[-1].split()[1:])
    path.with_suffix(".bnd").write_text("\n".join(lines))
    with pytest.raises(ScanError, match=message) as caught:
        bu3dfe.read_scan(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", ["{0} {1} 190", "nan {1} {2}", "{0} 1e308 {2}"])
def test_a_landmark_that_nothing_uses_costs_no_scan(path, place):
    """contour_14 is none of the common names; contour_7 is the chin."""
    lines = path.with_suffix(".bnd").read_text().splitlines()
    whole = bu3dfe.read_scan(path)
    lines[-1] = " ".join(["5", place.format(*lines[-1].split()[1:])])
    path.with_suffix(".bnd").write_text("\n".join(lines))
    scan = bu3dfe.read_scan(path)
    assert set(whole.landmarks) - set(scan.landmarks) == {"contour_14"}
    assert not whole.remarks and scan.remarks == (
        "left out landmarks that lie off the surface and that nothing uses: contour_14",
    )
    lines[-8] = " ".join(["5", place.format(*lines[-8].split()[1:])])
    path.with_suffix(".bnd").write_text("\n".join(lines))
    with pytest.raises(ScanError, match=r"chin (lies .* mm off the surface|has a coordinate beyond all bounds)"):
        bu3dfe.read_scan(path)


def test_landmark_file_may_have_other_line_ends(mesh, path):
    data = path.with_suffix(".bnd").read_bytes()
    path.with_suffix(".bnd").write_bytes(data.replace(b"\n", b"\r\n") + b"\r\n\r\n")
    np.testing.assert_array_equal(bu3dfe.read_scan(path).landmarks["chin"], mesh.landmarks["contour_7"])


def test_refuses_a_texture_elsewhere(path):
    edit(path, '"F0001_HA04WH_F3D.bmp"', '"../F0001_HA04WH_F3D.bmp"')
    with pytest.raises(ScanError, match="bare name"):
        bu3dfe.read_scan(path)


def test_refuses_metres(mesh, tmp_path):
    landmarks = {name: at / 1000 for name, at in mesh.landmarks.items()}
    path = bu3dfe.write_scan(dataclasses.replace(mesh, points=mesh.points / 1000, landmarks=landmarks), tmp_path)
    with pytest.raises(ScanError, match="convert it to mm"):
        bu3dfe.read_scan(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"landmarks": {}}, "needs 83 landmarks"),
        ({"level": None}, "BU-3DFE"),
    ],
)
def test_writer_refuses_what_the_format_cannot_hold(mesh, tmp_path, change, message):
    if "level" in change:
        change = {"id": dataclasses.replace(mesh.id, name="F0001_HAWH")}
    with pytest.raises(ScanError, match=message):
        bu3dfe.write_scan(dataclasses.replace(mesh, **change), tmp_path)
    assert not list(tmp_path.rglob("*.wrl"))


# Where the 68-point set's landmarks (iBUG order) name the same place as ours.
SAME_PLACE = {
    "right_eye_outer": 36, "right_eye_inner": 39, "left_eye_inner": 42, "left_eye_outer": 45, "mouth_right": 48,
    "mouth_left": 54, "upper_lip_outer": 51, "lower_lip_outer": 57, "chin": 8,
}  # fmt: skip


def test_files_laid_out_by_hand_are_read_as_they_were_meant(tmp_path):
    scan = bu3dfe.read_scan(hand_laid.write_bu3dfe(tmp_path))
    assert (scan.id.subject, scan.id.expression, scan.id.level, scan.id.ethnicity) == ("F0007", "FE", 2, "AE")
    points = hand_laid.places().reshape(-1, 3)
    np.testing.assert_allclose(scan.points, points, atol=1e-5)
    assert len(scan.triangles) == 2 * (hand_laid.ROWS - 1) * (hand_laid.COLUMNS - 1)
    a, b, c = (scan.points[scan.triangles[:, k]] for k in range(3))
    assert (np.cross(b - a, c - a)[:, 2] > 0).all()  # they face the camera
    assert np.abs(hand_laid.colour_error(scan)).max() < 3
    for name, vertex in zip(bu3dfe.POINT_NAMES, hand_laid.landmark_vertices(83), strict=True):
        np.testing.assert_allclose(scan.landmarks[name], points[vertex], atol=1e-5, err_msg=name)


def test_samples_are_read_with_their_landmarks(samples):
    paths = sorted(samples.glob("bu3dfe*/*/*_F3D.wrl"))
    assert len(paths) == (20 if samples_are_given() else 3)
    for path in paths:
        scan = bu3dfe.read_scan(path)
        truth = np.load(path.with_name(path.stem + "_truth.npz"))
        assert (scan.id.expression, scan.id.level) == (str(truth["expression"]), int(truth["level"]))
        ours = np.array([scan.landmarks[name] for name in bu3dfe.POINT_NAMES])
        distance = np.linalg.norm(ours - truth["landmarks"], axis=1)
        assert np.median(distance) < 1.2 and distance.max() < 8  # vertices lie 2.2 mm apart; an open mouth has none
        for name, index in SAME_PLACE.items():
            assert np.linalg.norm(scan.landmarks[name] - truth["landmarks68"][index]) < 4, (path.name, name)


def test_sample_texture_meets_the_true_colour(samples):
    """Colours of the vertices through texture points against the truth's colour at the same place."""
    path = sorted(samples.glob("bu3dfe_clean/*/*_F3D.wrl"))[0]
    scan, truth = bu3dfe.read_scan(path), np.load(path.with_name(path.stem + "_truth.npz"))
    height, width = scan.texture.shape[:2]
    corners, places = scan.points[scan.triangles[:, 0]], scan.uv[scan.uv_triangles[:, 0]]
    column = (places[:, 0] * width).astype(int).clip(0, width - 1)
    line = (places[:, 1] * height).astype(int).clip(0, height - 1)
    col, row = np.round(corners[:, 0] - truth["x0"]).astype(int), np.round(corners[:, 1] - truth["y0"]).astype(int)
    inside = (row >= 0) & (row < truth["valid"].shape[0]) & (col >= 0) & (col < truth["valid"].shape[1])
    seen = np.flatnonzero(inside)
    seen = seen[truth["valid"][row[seen], col[seen]]]
    seen = seen[np.abs(truth["depth"][row[seen], col[seen]] - corners[seen, 2]) < 2]
    error = np.abs(scan.texture[line, column][seen].astype(int) - truth["rgb"][row[seen], col[seen]])
    assert len(seen) > 5000 and np.median(error) < 12
