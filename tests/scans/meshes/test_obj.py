"""What OBJ files hold beyond plain triangles."""

import numpy as np
import pytest

from afnet_jax.scans import ScanError, read_scan
from afnet_jax.scans.meshes import named_files
from afnet_jax.scans.meshes.obj import read_obj
from tests.support import mesh_files
from tests.support.mesh_files import COLOURS, POINTS, SURFACE, TRIANGLES

SQUARE = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nv -1 0.5 0\n"


def surface(tmp_path, text):
    path = tmp_path / "a.obj"
    path.write_text(text, encoding="utf-8")
    return read_obj(path)


@pytest.mark.parametrize(
    ("faces", "expected"),
    [
        ("f 1 2 3 4", [(0, 1, 2), (0, 2, 3)]),
        ("f 1 2 3 4 5", [(0, 1, 2), (0, 2, 3), (0, 3, 4)]),
        ("f 1 2 3 4\nf 1 4 5", [(0, 1, 2), (0, 2, 3), (0, 3, 4)]),
        ("f 1// 2// 3//", [(0, 1, 2)]),
        ("f 1//1 2//1 3//1", [(0, 1, 2)]),
        ("f 1 2 \\\n3", [(0, 1, 2)]),
        ("f -5 -4 -3", [(0, 1, 2)]),
        ("f\t1\t2\t3 # a comment\nl 1 2\ng group\ns off\no thing\np 1", [(0, 1, 2)]),
    ],
)
def test_polygons_and_indices(tmp_path, faces, expected):
    (part,) = surface(tmp_path, SQUARE + faces).parts
    np.testing.assert_array_equal(part.triangles, expected)


def test_negative_indices_count_from_where_they_stand(tmp_path):
    text = "v 0 0 0\nv 1 0 0\nv 0 1 0\nf -3 -2 -1\nv 5 0 0\nv 6 0 0\nv 5 1 0\nf -3 -2 -1\n"
    (part,) = surface(tmp_path, text).parts
    np.testing.assert_array_equal(part.triangles, [(0, 1, 2), (3, 4, 5)])


def test_windows_lines_and_a_byte_order_mark(tmp_path):
    path = tmp_path / "a.obj"
    path.write_bytes(b"\xef\xbb\xbf" + (SQUARE + "f 1 2 3\n").replace("\n", "\r\n").encode())
    assert len(read_obj(path).parts[0].triangles) == 1


def test_colours_behind_points(tmp_path):
    path = tmp_path / "face.obj"
    path.write_text(mesh_files.obj(lines="", colours=True, uv=False), encoding="utf-8")
    np.testing.assert_array_equal(read_obj(path).colours, COLOURS)
    assert read_scan(path).coloured


def two_materials(tmp_path):
    """The dome's right half (x < 0) in red.png, its left half in the plain green of a material."""
    rows = mesh_files.obj(lines="mtllib two.mtl\n").splitlines()
    faces = [row for row in rows if row.startswith("f ")]
    middle = POINTS[TRIANGLES].mean(axis=1)[:, 0]
    halves = ["usemtl red", *np.array(faces)[middle < 0], "usemtl green", *np.array(faces)[middle >= 0]]
    path = tmp_path / "face.obj"
    path.write_text("\n".join([row for row in rows if not row.startswith("f ")] + halves), encoding="utf-8")
    (tmp_path / "two.mtl").write_text(
        "newmtl red\nmap_Kd -o 0 0 0 -clamp on a folder\\my red.png\nnewmtl green\nKd 0 1 0\n"
        "newmtl unused\nmap_Kd nowhere.png\n",
        encoding="utf-8",
    )
    (tmp_path / "my red.png").write_bytes(mesh_files.picture(colour=(200, 0, 0)))
    return path


def test_several_materials_in_one_picture(tmp_path):
    scan = read_scan(two_materials(tmp_path))
    places = scan.uv[scan.uv_triangles].mean(axis=1) * scan.texture.shape[1::-1]
    shown = scan.texture[tuple(np.floor(places[:, ::-1]).astype(int).T)]
    left = scan.points[scan.triangles].mean(axis=1)[:, 0] >= 0
    np.testing.assert_array_equal(shown, np.where(left[:, None], (0, 255, 0), (200, 0, 0)))


def test_a_material_file_of_the_same_stem_is_found_without_being_named(tmp_path):
    path = mesh_files.write_obj(tmp_path, mesh_files.obj(lines="usemtl skin\n"))
    np.testing.assert_array_equal(read_scan(path).texture, SURFACE.texture)


def test_jpeg_pictures(tmp_path):
    path = mesh_files.write_obj(tmp_path)
    (tmp_path / "face.png").unlink()
    (tmp_path / "face.mtl").write_text("newmtl skin\nmap_Kd C:\\scans\\Face.JPG\n", encoding="utf-8")
    (tmp_path / "face.jpg").write_bytes(mesh_files.picture("JPEG"))
    assert read_scan(path).texture.shape == SURFACE.texture.shape


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("hello\n", "no points"),
        ("v 1 2\nf 1 1 1", "2 numbers"),
        ("v 1 2 x\nf 1 1 1", "no number"),
        (SQUARE + "v 1 2 3 4\nf 1 2 3", "as many in each"),
        (SQUARE + "f 1 2 9", "names point 8, expected 0 to 4"),
        (SQUARE + "f 1 2 -9", "line 6.*before the first"),
        (SQUARE + "f 1 x 3", "line 6.*no whole numbers"),
        (SQUARE + "f 1/9 2/9 3/9", "names texture point"),
        (SQUARE + "mtllib gone.mtl\nusemtl a\nf 1 2 3", "gone.mtl.*missing"),
        (SQUARE + "curv 0 1 1 2", "free-form"),
        ("v nan 0 0\n" + SQUARE + "f 1 2 3", "no number"),
        (SQUARE + "f 1 2 " + " ".join(["3"] * 70), "72 corners"),
    ],
)
def test_faults_are_told_in_one_line(tmp_path, text, reason):
    path = tmp_path / "a.obj"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ScanError, match=reason) as error:
        read_scan(path)
    assert "\n" not in str(error.value) and "a.obj" in str(error.value)


def test_a_missing_picture_is_told(tmp_path):
    path = mesh_files.write_obj(tmp_path)
    (tmp_path / "face.png").unlink()
    with pytest.raises(ScanError, match=r"texture picture face.png that it names is missing"):
        read_scan(path)


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "..", "a/../../secret.png"])
def test_nothing_leads_out_of_the_folder(tmp_path, name):
    (tmp_path / "secret.png").write_bytes(mesh_files.picture())
    folder = tmp_path / "scan"
    folder.mkdir()
    path = mesh_files.write_obj(folder)
    (folder / "face.mtl").write_text(f"newmtl skin\nmap_Kd {name}\n", encoding="utf-8")
    with pytest.raises(ScanError, match=r"missing|expected that of a file"):
        read_scan(path)


def test_names_of_materials_may_hold_a_number_sign(tmp_path):
    path = two_materials(tmp_path)
    for file in (path, tmp_path / "two.mtl"):
        text = (
            file.read_text(encoding="utf-8")
            .replace("usemtl ", "usemtl Material #")
            .replace("newmtl ", "newmtl Material #")
        )
        file.write_text(text, encoding="utf-8")
    scan = read_scan(path)
    assert {(200, 0, 0), (0, 255, 0)} <= set(map(tuple, scan.texture.reshape(-1, 3)))


def test_a_picture_that_materials_share_is_there_once(tmp_path):
    rows = mesh_files.obj(lines="mtllib many.mtl\n").splitlines()
    faces = [row for row in rows if row.startswith("f ")]
    parts = [line for k, row in enumerate(faces) for line in (f"usemtl m{k % 5}", row)]
    path = tmp_path / "face.obj"
    path.write_text("\n".join([row for row in rows if not row.startswith("f ")] + parts), encoding="utf-8")
    (tmp_path / "many.mtl").write_text("".join(f"newmtl m{k}\nmap_Kd a.png\n" for k in range(5)), encoding="utf-8")
    (tmp_path / "a.png").write_bytes(mesh_files.picture())
    np.testing.assert_array_equal(read_scan(path).texture, SURFACE.texture)


def test_a_name_that_no_file_system_takes_is_this_scans_fault(tmp_path):
    path = tmp_path / "face.obj"
    path.write_bytes(b"mtllib " + 120 * b"\xff" + b"\nv 0 0 0\nv 1 0 0\nv 1 1 0\nf 1 2 3\n")
    with pytest.raises(ScanError, match=r"cannot be looked up|missing|name of the material file"):
        read_scan(path)


def test_one_plain_colour_is_none(tmp_path):
    path = mesh_files.write_obj(tmp_path, mesh_files.obj(uv=False))
    (tmp_path / "face.mtl").write_text("newmtl skin\nKd 0.8 0.8 0.8\n", encoding="utf-8")
    scan = read_scan(path)
    assert not scan.coloured and any("no colours" in remark for remark in scan.remarks)


def test_points_all_white_leave_the_picture_beside_its_place(tmp_path):
    rows = mesh_files.obj(lines="").splitlines()
    text = "\n".join(f"{row} 1 1 1" if row.startswith("v ") else row for row in rows)
    np.testing.assert_array_equal(read_scan(mesh_files.write_obj(tmp_path, text)).texture, SURFACE.texture)


@pytest.mark.parametrize(
    "name", ["C:\\scans\\Tex\\Face.PNG", "Tex/Face.PNG", "../tex/face.png", "/home/me/tex/face.png"]
)
def test_a_picture_below_the_folder_is_found_by_the_end_of_its_path(tmp_path, name):
    path = mesh_files.write_obj(tmp_path)
    (tmp_path / "tex").mkdir()
    (tmp_path / "face.png").rename(tmp_path / "tex" / "face.png")
    (tmp_path / "face.mtl").write_text(f"newmtl skin\nmap_Kd {name}\n", encoding="utf-8")
    np.testing.assert_array_equal(read_scan(path).texture, SURFACE.texture)


@pytest.mark.parametrize(
    ("line", "picture"),
    [
        ("map_Kd M\u00fcller.png".encode("cp1252"), "M\u00fcller.png"),  # as German Windows writes it
        ("map_Kd M\u00fcller.png".encode(), "Mu\u0308ller.png"),  # as macOS stores it
        (b"map_Kd -clamp on my  face.png", "my  face.png"),
    ],
)
def test_names_of_pictures_as_systems_write_them(tmp_path, line, picture):
    path = mesh_files.write_obj(tmp_path)
    (tmp_path / "face.png").rename(tmp_path / picture)
    (tmp_path / "face.mtl").write_bytes(b"newmtl skin\n" + line + b"\n")
    np.testing.assert_array_equal(read_scan(path).texture, SURFACE.texture)
    assert tmp_path / picture in named_files(path)


def test_several_materials_files_on_one_line(tmp_path):
    path = mesh_files.write_obj(tmp_path, mesh_files.obj(lines="mtllib other.mtl face.mtl\nusemtl skin\n"))
    (tmp_path / "other.mtl").write_text("newmtl hair\nKd 0 0 0\n", encoding="utf-8")
    np.testing.assert_array_equal(read_scan(path).texture, SURFACE.texture)
    assert {tmp_path / "other.mtl", tmp_path / "face.mtl", tmp_path / "face.png"} == set(named_files(path))


def test_a_picture_below_may_be_a_link_to_a_store(tmp_path):
    path = mesh_files.write_obj(tmp_path)
    (tmp_path / "store").mkdir()
    (tmp_path / "scan" / "tex").mkdir(parents=True)
    for name in ("face.obj", "face.mtl"):
        (tmp_path / name).rename(tmp_path / "scan" / name)
    (tmp_path / "face.png").rename(tmp_path / "store" / "0815")
    (tmp_path / "scan" / "tex" / "face.png").symlink_to(tmp_path / "store" / "0815")
    (tmp_path / "scan" / "face.mtl").write_text("newmtl skin\nmap_Kd tex/face.png\n", encoding="utf-8")
    np.testing.assert_array_equal(read_scan(tmp_path / "scan" / path.name).texture, SURFACE.texture)


@pytest.mark.parametrize("scale", [1, 255])
def test_a_few_colours_slightly_above_one_are_white(tmp_path, scale):
    colours = np.vstack([np.linspace(0, scale, 300).reshape(-1, 3), np.full((1, 3), 1.02 * scale)])
    expected = np.round(255 * colours.clip(0, scale) / scale)
    points = np.random.default_rng(0).normal(size=colours.shape)
    rows = ["v " + " ".join(map(str, row)) for row in np.hstack([points, colours])]
    path = tmp_path / "a.obj"
    path.write_text("\n".join([*rows, "f 1 2 3"]), encoding="utf-8")
    np.testing.assert_array_equal(read_obj(path).colours, expected)
