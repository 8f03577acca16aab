"""The same surface from every format: places, triangles and colours as they were written."""

import base64
import io
import json
import sys

import numpy as np
import pytest
from PIL import Image

from afnet_jax.scans import ScanError, read_scan
from afnet_jax.scans.meshes.gltf import read_gltf
from tests.support import mesh_files
from tests.support.mesh_files import COLOURS, POINTS, SURFACE, TRIANGLES, UV


def corners(scan):
    """(T, 3, 3) corners of the triangles, each triangle begun at its least corner, sorted: order does not matter."""
    places = scan.points[scan.triangles].round(3)
    turned = [np.roll(each, -int(np.lexsort(each.T[::-1])[0]), axis=0).ravel() for each in places]
    return np.array(sorted(map(tuple, turned)))


def expected_corners():
    turned = [np.roll(each, -int(np.lexsort(each.T[::-1])[0]), axis=0).ravel() for each in POINTS[TRIANGLES].round(3)]
    return np.array(sorted(map(tuple, turned)))


def colours_at_corners(scan):
    """(T, 3, 3) what bilinear look-up shows at the corners of the triangles."""
    height, width = scan.texture.shape[:2]
    x, y = (scan.uv[scan.uv_triangles].astype(np.float64) * (width, height) - 0.5).transpose(2, 0, 1)
    left, top = np.clip(np.floor(x), 0, width - 2).astype(int), np.clip(np.floor(y), 0, height - 2).astype(int)
    fx, fy = np.clip(x - left, 0, 1)[..., None], np.clip(y - top, 0, 1)[..., None]
    image = scan.texture.astype(np.float64)
    upper = image[top, left] * (1 - fx) + image[top, left + 1] * fx
    lower = image[top + 1, left] * (1 - fx) + image[top + 1, left + 1] * fx
    return upper * (1 - fy) + lower * fy


def assert_surface(scan, atol=2e-3):
    np.testing.assert_allclose(corners(scan), expected_corners(), atol=atol)


def write(folder, name, data):
    path = folder / name
    path.write_bytes(data)
    return path


def test_obj_with_its_material_and_picture(tmp_path):
    scan = read_scan(mesh_files.write_obj(tmp_path))
    assert_surface(scan)
    np.testing.assert_array_equal(scan.texture, SURFACE.texture)
    np.testing.assert_allclose(scan.uv[scan.uv_triangles], UV[TRIANGLES], atol=1e-5)
    assert scan.landmarks == {} and scan.remarks == () and not scan.frontal
    assert (scan.id.database, scan.id.subject, scan.id.name, scan.id.label) == ("mesh", "face", "face", None)


@pytest.mark.parametrize("form", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_ply_with_colours_of_points(tmp_path, form):
    scan = read_scan(write(tmp_path, "face.ply", mesh_files.ply(form)))
    assert_surface(scan)
    assert scan.coloured
    order = np.lexsort(POINTS[TRIANGLES].mean(axis=1).round(3).T)
    found = np.lexsort(scan.points[scan.triangles].mean(axis=1).round(3).T)
    np.testing.assert_allclose(colours_at_corners(scan)[found], COLOURS[TRIANGLES][order], atol=1)


@pytest.mark.parametrize("form", ["binary", "ascii"])
def test_stl_has_no_colours_and_says_so(tmp_path, form):
    scan = read_scan(write(tmp_path, "face.stl", mesh_files.stl(form)))
    assert_surface(scan)
    assert len(scan.points) == len(POINTS)  # corners are joined
    assert not scan.coloured and any("no colours" in remark for remark in scan.remarks)


@pytest.mark.parametrize(("name", "binary"), [("face.glb", True), ("face.gltf", False)])
def test_gltf_with_its_picture_in_metres(tmp_path, name, binary):
    scan = read_scan(write(tmp_path, name, mesh_files.gltf(binary=binary, image=mesh_files.picture())))
    assert_surface(scan)
    np.testing.assert_array_equal(scan.texture, SURFACE.texture)
    np.testing.assert_allclose(scan.uv[scan.uv_triangles], UV[TRIANGLES], atol=1e-5)
    assert scan.remarks == ("the unit is taken for m by the size of the mesh",)


@pytest.mark.parametrize("mode", ["OPAQUE", "BLEND"])
def test_gltf_transparency_counts_where_the_material_says_so(tmp_path, mode):
    stream = io.BytesIO()
    Image.fromarray(np.full((8, 8, 4), (200, 100, 50, 64), np.uint8)).save(stream, "PNG")
    materials = [{"alphaMode": mode, "pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}]
    scan = read_scan(write(tmp_path, "face.glb", mesh_files.gltf(image=stream.getvalue(), materials=materials)))
    assert scan.texture[4, 4].tolist() == ([200, 100, 50] if mode == "OPAQUE" else [50, 25, 13])


def test_gltf_pictures_that_glow_are_the_face(tmp_path):
    """Photographs are lit already: some programs write them on a black surface that gives light."""
    materials = [{"emissiveTexture": {"index": 0}, "pbrMetallicRoughness": {"baseColorFactor": [0, 0, 0, 1]}}]
    data = mesh_files.gltf(image=mesh_files.picture(), materials=materials)
    np.testing.assert_array_equal(read_scan(write(tmp_path, "face.glb", data)).texture, SURFACE.texture)


def test_gltf_blend_shapes_are_not_dropped_in_silence(tmp_path):
    content = json.loads(mesh_files.gltf(binary=False))
    content["nodes"][0]["weights"] = [0.0, 0.7]
    path = write(tmp_path, "face.gltf", json.dumps(content).encode())
    with pytest.raises(ScanError, match="morph targets"):
        read_scan(path)


def test_gltf_colours_of_points(tmp_path):
    scan = read_scan(write(tmp_path, "face.glb", mesh_files.gltf(colours=True)))
    np.testing.assert_allclose(colours_at_corners(scan), COLOURS[TRIANGLES], atol=1)


def test_gltf_nodes_move_turn_and_scale(tmp_path):
    half = np.sqrt(0.5)  # a quarter turn about x: y -> z, z -> -y
    node = {"translation": [0.1, 0, 0], "rotation": [half, 0, 0, half], "scale": [1, 2, 1]}
    scan = read_scan(write(tmp_path, "face.glb", mesh_files.gltf(node=node)))
    x, y, z = POINTS.T
    np.testing.assert_allclose(scan.points, np.stack([x + 100, -z, 2 * y], axis=1), atol=2e-3)


def test_gltf_buffer_and_picture_in_files(tmp_path):
    content = json.loads(mesh_files.gltf(binary=False, image=mesh_files.picture()))
    (tmp_path / "my data.bin").write_bytes(base64.b64decode(content["buffers"][0]["uri"].partition(",")[2]))
    (tmp_path / "tex").mkdir()
    (tmp_path / "tex" / "skin.png").write_bytes(mesh_files.picture())
    content["buffers"][0]["uri"], content["images"][0] = "my%20data.bin", {"uri": "tex/skin.png"}
    scan = read_scan(write(tmp_path, "face.gltf", json.dumps(content).encode()))
    assert_surface(scan)
    np.testing.assert_array_equal(scan.texture, SURFACE.texture)


def test_gltf_sparse_and_strips(tmp_path):
    """A strip 0 1 2 3 is the triangles 0 1 2 and 2 1 3; a sparse item replaces one that a view gives."""
    content = json.loads(mesh_files.gltf(binary=False))
    content["meshes"][0]["primitives"][0] |= {"mode": 5}
    content["accessors"][2]["count"] = 5
    # Position 0 becomes (what stands in the view of positions at) position 3.
    content["accessors"][0]["sparse"] = {
        "count": 1,
        "indices": {"bufferView": 5, "componentType": 5121},
        "values": {"bufferView": 0, "byteOffset": 3 * 12},
    }
    content["bufferViews"] += [{"buffer": 0, "byteOffset": 0, "byteLength": 4}] * 2
    content["buffers"].append({"byteLength": 4, "uri": "data:;base64,AAAAAA=="})
    content["bufferViews"][5] = {"buffer": 1, "byteLength": 1}
    surface = read_gltf(write(tmp_path, "face.gltf", json.dumps(content).encode()))
    a, b, c, d, e = TRIANGLES.ravel()[:5]
    np.testing.assert_array_equal(surface.parts[0].triangles, [(a, b, c), (c, b, d), (c, d, e)])
    np.testing.assert_allclose(surface.points[0], POINTS[3] / 1000, atol=1e-6)


def test_draco(tmp_path):
    draco = pytest.importorskip("DracoPy")
    data = draco.encode(POINTS / 1000, faces=TRIANGLES.astype(np.uint32), quantization_bits=16)
    content = json.loads(mesh_files.gltf(binary=False))
    content["bufferViews"], content["buffers"] = [{"buffer": 0, "byteLength": len(data)}], [{"byteLength": len(data)}]
    key = next(each["unique_id"] for each in draco.decode(data).attributes)
    extension = {"KHR_draco_mesh_compression": {"bufferView": 0, "attributes": {"POSITION": key}}}
    content["meshes"][0]["primitives"][0]["extensions"] = extension
    content["extensionsRequired"] = list(extension)
    scan = read_scan(write(tmp_path, "face.glb", mesh_files.glb(json.dumps(content).encode(), data)))
    assert_surface(scan, atol=0.01)


def test_draco_without_its_library_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "DracoPy", None)
    content = json.loads(mesh_files.gltf(binary=False))
    content["meshes"][0]["primitives"][0]["extensions"] = {
        "KHR_draco_mesh_compression": {"bufferView": 0, "attributes": {"POSITION": 0}}
    }
    path = write(tmp_path, "face.gltf", json.dumps(content).encode())
    with pytest.raises(ScanError, match=r"face.gltf: .*afnet_jax\[draco\]"):
        read_scan(path)


def test_unsupported_extensions_are_named(tmp_path):
    path = write(tmp_path, "face.glb", mesh_files.gltf(extensionsRequired=["EXT_meshopt_compression"]))
    with pytest.raises(ScanError, match="EXT_meshopt_compression"):
        read_scan(path)


def test_gltf_colours_of_points_are_linear(tmp_path):
    shares = COLOURS / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    content = json.loads(mesh_files.gltf(binary=False, colours=True))
    data = base64.b64decode(content["buffers"][0]["uri"].partition(",")[2]) + linear.astype("<f4").tobytes()
    content["accessors"][3] = {"bufferView": 4, "componentType": 5126, "count": len(linear), "type": "VEC3"}
    content["bufferViews"].append(
        {"buffer": 0, "byteOffset": len(data) - 12 * len(linear), "byteLength": 12 * len(linear)}
    )
    content["buffers"] = [{"byteLength": len(data), "uri": "data:;base64," + base64.b64encode(data).decode()}]
    path = tmp_path / "face.gltf"
    path.write_text(json.dumps(content))
    np.testing.assert_array_equal(read_gltf(path).colours, COLOURS)


def test_gltf_specular_glossiness(tmp_path):
    extension = {"KHR_materials_pbrSpecularGlossiness": {"diffuseTexture": {"index": 0}}}
    data = mesh_files.gltf(
        image=mesh_files.picture(), materials=[{"extensions": extension}], extensionsUsed=list(extension)
    )
    path = tmp_path / "face.glb"
    path.write_bytes(data)
    np.testing.assert_array_equal(read_scan(path).texture, SURFACE.texture)
