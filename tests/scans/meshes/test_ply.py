"""What PLY files hold beyond a plain mesh, and how damaged ones are refused."""

import numpy as np
import pytest

from afnet_jax.scans import ScanError, read_scan
from afnet_jax.scans.meshes.ply import read_ply
from afnet_jax.scans.meshes.surface import MeshError
from tests.support import mesh_files
from tests.support.mesh_files import COLOURS, POINTS, SURFACE, TRIANGLES, UV

FORMS = ["ascii", "binary_little_endian", "binary_big_endian"]


def surface(tmp_path, data):
    path = tmp_path / "a.ply"
    path.write_bytes(data)
    return read_ply(path)


@pytest.mark.parametrize("form", FORMS)
def test_polygons_of_different_sizes(tmp_path, form):
    (part,) = surface(tmp_path, mesh_files.ply(form, faces=[[0, 1, 2, 3], [4, 5, 6], [0, 2, 4, 6, 8]])).parts
    expected = [(0, 1, 2), (0, 2, 3), (4, 5, 6), (0, 2, 4), (0, 4, 6), (0, 6, 8)]
    np.testing.assert_array_equal(part.triangles, expected)


@pytest.mark.parametrize("form", FORMS)
def test_a_cloud_has_points_and_colours_alone(tmp_path, form):
    cloud = surface(tmp_path, mesh_files.ply(form, faces=[]))
    assert cloud.parts == ()
    np.testing.assert_allclose(cloud.points, POINTS, atol=1e-4)
    np.testing.assert_array_equal(cloud.colours, COLOURS)


def test_texture_points_of_faces_and_a_named_picture(tmp_path):
    """As MeshLab writes a mesh: `comment TextureFile` and a list of u v for each corner, v from the bottom."""
    (tmp_path / "face.png").write_bytes(mesh_files.picture())
    head = f"ply\nformat ascii 1.0\ncomment TextureFile face.png\nelement vertex {len(POINTS)}\nproperty double x\n"
    head += f"property double y\nproperty double z\nelement face {len(TRIANGLES)}\n"
    head += "property list uchar int vertex_indices\nproperty list uchar float texcoord\nend_header\n"
    rows = [" ".join(map(str, at)) for at in POINTS.tolist()]
    for triangle in TRIANGLES.tolist():
        places = [value for k in triangle for value in (UV[k, 0], 1 - UV[k, 1])]
        rows.append(" ".join(map(str, [3, *triangle, 6, *places])))
    path = tmp_path / "face.ply"
    path.write_text(head + "\n".join(rows) + "\n", encoding="utf-8")
    scan = read_scan(path)
    np.testing.assert_array_equal(scan.texture, SURFACE.texture)
    np.testing.assert_allclose(scan.uv[scan.uv_triangles], UV[TRIANGLES], atol=1e-6)


def test_colours_as_floats_and_texture_points_of_points(tmp_path):
    head = "ply\nformat ascii 1.0\nelement vertex 3\n" + "".join(
        f"property float {name}\n" for name in ("x", "y", "z", "red", "green", "blue", "s", "t")
    )
    head += "element face 1\nproperty list uchar uint vertex_index\nend_header\n"
    found = surface(tmp_path, (head + "0 0 0 1 0 0 0 0\n1 0 0 0 1 0 1 0\n0 1 0 0.5 0 1 0 1\n3 0 1 2\n").encode())
    np.testing.assert_array_equal(found.colours, [(255, 0, 0), (0, 255, 0), (128, 0, 255)])
    np.testing.assert_array_equal(found.uv, [(0, 1), (1, 1), (0, 0)])


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"ply\n", b"plx\n", "no PLY file"),
        (b"end_header", b"end_headex", "no `end_header`"),
        (b"format binary_little_endian", b"format zip", "no format that is known"),
        (b"property float z", b"property flaot z", "property flaot z"),
        (b"property float z", b"property float x", "twice"),
        (b"property float z", b"property float w", "no x, y and z"),
        (b"element vertex ", b"element vertex 9999999", "rows of `vertex`, expected at most"),
        (b"element face ", b"element face 99", "ends before"),
        (b"property list uchar int vertex_indices", b"property list float int vertex_indices", "no whole number"),
    ],
)
def test_faults_are_told(tmp_path, old, new, reason):
    data = mesh_files.ply("binary_little_endian")
    assert old in data
    path = tmp_path / "a.ply"
    path.write_bytes(data.replace(old, new, 1))
    with pytest.raises(ScanError, match=reason):
        read_scan(path)


@pytest.mark.parametrize("form", FORMS)
def test_a_file_cut_short_is_refused(tmp_path, form):
    data = mesh_files.ply(form)
    path = tmp_path / "a.ply"
    for size in (len(data) // 2, len(data) - 5):
        path.write_bytes(data[:size])
        with pytest.raises(ScanError, match=r"ends before|does not hold"):
            read_scan(path)


@pytest.mark.parametrize("form", FORMS)
def test_triangle_strips_are_refused(tmp_path, form):
    """As Stanford's range scans are stored: one strip, −1 between its parts."""
    strips = mesh_files.ply(form).replace(b"element face %d" % len(TRIANGLES), b"element tristrips %d" % len(TRIANGLES))
    with pytest.raises(MeshError, match="triangle strips are not supported; save it with faces"):
        surface(tmp_path, strips)
