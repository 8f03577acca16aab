"""The golden is written by hand after ISO/IEC 14772-1; its triangles and texture points were worked out on paper."""

import dataclasses

import numpy as np
import pytest

from afnet_jax.scans import ScanError, face_set

# A triangle, a square, a pentagon and a hexagon, with commas, exponents, comments, a seam and unusual layout.
POLYGONS = """#VRML V2.0 utf8
# a comment with [ brackets ] and "quotes"
NavigationInfo { type [ "EXAMINE" "ANY" ] headlight TRUE }
DEF Face Transform { children [ Shape {
  appearance Appearance {
    material Material { diffuseColor 0.8 .8 8e-1 }
    texture ImageTexture { url [ "face.bmp" ] repeatS FALSE }
  }
  geometry IndexedFaceSet { solid FALSE ccw TRUE creaseAngle 1.57
    texCoordIndex [ 0 1 2 -1 0 2 3 4 -1, 7,6,5,4,3,-1
      0,1,2,3,4,5 ] # without the last -1
    coord Coordinate { point [ 0 0 0, 1e1 0 0, 1.0E+1 10 0, -5.5e-1 +12 .5,
      1 2 3  # a comment in the middle ] of the numbers
      4 5 6, 7 8 9 ] }
    coordIndex [ 0, 1, 2, -1, 0, 2, 3, 4, -1, 6 5 4 3 2 -1, 0 1 2 3 4 5 -1, ]
    texCoord TextureCoordinate { point [ 0 0, 1 0, 1 1, 0 1, .5 .5, .25 .25, .75 .75, 1e-1 0 ] } } } ] }
Viewpoint { position 0 0 700 description "Front" }
"""
TRIANGLES = [[0, 1, 2], [0, 2, 3], [0, 3, 4], [6, 5, 4], [6, 4, 3], [6, 3, 2]]
TRIANGLES += [[0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 4, 5]]
UV_TRIANGLES = [[0, 1, 2], [0, 2, 3], [0, 3, 4], [7, 6, 5], [7, 5, 4], [7, 4, 3]]
UV_TRIANGLES += [[0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 4, 5]]


def read(tmp_path, text: str) -> face_set.FaceSet:
    path = tmp_path / "a.wrl"
    path.write_bytes(text.encode())
    return face_set.read_face_set(path)


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_reads_polygons_of_three_to_six_corners(tmp_path, newline):
    mesh = read(tmp_path, POLYGONS.replace("\n", newline))
    np.testing.assert_array_equal(mesh.triangles, TRIANGLES)
    np.testing.assert_array_equal(mesh.uv_triangles, UV_TRIANGLES)
    np.testing.assert_array_equal(mesh.points[:5], [[0, 0, 0], [10, 0, 0], [10, 10, 0], [-0.55, 12, 0.5], [1, 2, 3]])
    np.testing.assert_array_equal(mesh.uv[[4, 7]], [[0.5, 0.5], [0.1, 0]])
    assert mesh.texture == "face.bmp" and len(mesh.points) == 7 and len(mesh.uv) == 8


def test_without_texture_index_the_points_index_counts(tmp_path):
    start, end = POLYGONS.index("texCoordIndex"), POLYGONS.index("coord Coordinate")
    mesh = read(tmp_path, POLYGONS[:start] + POLYGONS[end:])
    np.testing.assert_array_equal(mesh.uv_triangles, TRIANGLES)


def test_write_then_read_is_the_identity(tmp_path):
    rng = np.random.default_rng(0)
    points, uv = rng.normal(0, 50, (40, 3)).round(5), rng.random((50, 2)).round(6)
    triangles, uv_triangles = rng.integers(0, 40, (30, 3), np.int32), rng.integers(0, 50, (30, 3), np.int32)
    mesh = face_set.FaceSet(points, triangles, uv, uv_triangles, "a_F3D.bmp")
    face_set.write_face_set(tmp_path / "a.wrl", mesh)
    back = face_set.read_face_set(tmp_path / "a.wrl")
    for field in dataclasses.fields(mesh):
        np.testing.assert_array_equal(getattr(back, field.name), getattr(mesh, field.name))


FAULTS = {
    "no VRML": (POLYGONS[:15], "Inventor", "not a VRML 2.0 file"),
    "cut in the points": (POLYGONS[POLYGONS.index("4 5 6") :], "", "cut short"),
    "cut in the nodes": (POLYGONS[POLYGONS.index("Viewpoint") + 15 :], "", "cut short"),
    "index beyond": ("0, 2, 3, 4, -1, 6 5", "0, 2, 3, 4, -1, 7 5", "names point 7"),
    "negative index": ("0, 2, 3, 4, -1, 6 5", "0, 2, 3, 4, -1, -6 5", "negative"),
    "two corners": ("0, 1, 2, -1, 0, 2", "0, 1, -1, 0, 2", "fewer than 3"),
    "many corners": ("0, 1, 2, -1, 0, 2", "0, 1, 2, 3, 4, 0, 1, 2, 3, -1, 0, 2", "a polygon of 9 corners"),
    "other sizes": ("-1 0 2 3 4 -1", "-1 0 2 3 -1", "other sizes"),
    "nan": ("1e1 0 0", "nan 0 0", "expected numbers"),
    "overflow": ("1e1 0 0", "1e999 0 0", "beyond all bounds"),
    "two numbers in one": ("10 0,", "1-0 0,", "no number"),
    "hexadecimal": ("0, 1, 2, -1, 0, 2", "0, 0x1, 2, -1, 0, 2", "expected numbers"),
    "one number less": ("7 8 9", "7 8", "3 for each point"),
    "no texture": ("ImageTexture", "MovieTexture", "expected exactly one ImageTexture node, found 0"),
    "no texture points": ("texCoord TextureCoordinate", "texCoord Coordinate", "no `texCoord TextureCoordinate`"),
    "two meshes": ("Viewpoint {", "IndexedFaceSet { } Viewpoint {", "found 2"),
    "moved": ("Transform { children", "Transform { scale 1000 1000 1000 children", "moves the mesh"),
    "reused": ("Viewpoint {", "USE Face Viewpoint {", "USE node is not supported"),
    "script": ("Viewpoint {", "Script { } Viewpoint {", "Script is not supported"),
    "twice": ("ccw TRUE", "solid TRUE", "stands twice"),
    "parent folder": ('"face.bmp"', '"../face.bmp"', "bare name"),
    "absolute path": ('"face.bmp"', '"/etc/face.bmp"', "bare name"),
    "windows path": ('"face.bmp"', '"C:\\\\face.bmp"', "bare name"),
    "hidden file": ('"face.bmp"', '".face.bmp"', "bare name"),
    "no url": ('url [ "face.bmp" ]', "", "bare name"),
    "empty url": ('[ "face.bmp" ]', "[ ]", "bare name"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_refuses_in_one_line_that_names_the_file(tmp_path, fault):
    old, new, message = FAULTS[fault]
    assert old in POLYGONS
    with pytest.raises(ScanError, match=message) as caught:
        read(tmp_path, POLYGONS.replace(old, new, 1))
    assert str(caught.value).startswith(str(tmp_path / "a.wrl")) and "\n" not in str(caught.value)
