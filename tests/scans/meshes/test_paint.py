"""One picture of several sources of colour: every triangle shows its own colours."""

import re

import numpy as np
import pytest

from afnet_jax.preprocessing import preprocess
from afnet_jax.scans import read_scan
from afnet_jax.scans.meshes.paint import painted
from afnet_jax.scans.meshes.reader import COLOURLESS
from afnet_jax.scans.meshes.surface import MeshError, Part, Surface
from afnet_jax.scans.scan import LANDMARKS
from afnet_jax.synthetic import make_scan
from tests.support.mesh_files import COLOURS, POINTS, TRIANGLES, UV, write_obj


def colour_at(texture, uv):
    """Nearest pixels of (N, 2) texture points."""
    height, width = texture.shape[:2]
    return texture[np.floor(uv[:, 1] * height).astype(int), np.floor(uv[:, 0] * width).astype(int)].astype(int)


@pytest.mark.parametrize("edge", [0.05, 0.5, 5.0])
def test_the_middle_of_a_triangle_has_its_mean_colour(edge):
    uv, index, texture = painted(Surface(POINTS, (Part(TRIANGLES),), colours=COLOURS), edge)
    middles = uv[index].astype(float)
    if edge < 1:
        shown = colour_at(texture, middles.mean(axis=1))
        np.testing.assert_allclose(shown, COLOURS[TRIANGLES].astype(float).mean(axis=1), atol=1)
    else:
        for corner in range(3):  # pixel centres
            np.testing.assert_array_equal(colour_at(texture, middles[:, corner]), COLOURS[TRIANGLES[:, corner]])


def test_extreme_colours_are_exact_at_corners_of_large_triangles():
    colours = np.random.default_rng(0).choice([0, 255], size=(len(POINTS), 3)).astype(np.uint8)
    uv, index, texture = painted(Surface(POINTS, (Part(TRIANGLES),), colours=colours), 5.0)
    for corner in range(3):
        np.testing.assert_array_equal(colour_at(texture, uv[index[:, corner]]), colours[TRIANGLES[:, corner]])


def test_pictures_repeat():
    """Texture points beyond the picture, as of a second tile, look up the same place."""
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    uv, index, texture = painted(Surface(POINTS, (Part(TRIANGLES, TRIANGLES, picture),), UV + np.array((2, -1))), 5.0)
    np.testing.assert_array_equal(texture, picture)
    np.testing.assert_allclose(uv[index], UV[TRIANGLES], atol=1e-6)


def test_pictures_side_by_side_are_looked_up_exactly():
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, size, np.uint8) for size in ((20, 30, 3), (40, 16, 3))]
    halves = np.array_split(TRIANGLES, 2)
    parts = tuple(Part(half, half, picture) for half, picture in zip(halves, pictures, strict=True))
    uv, index, texture = painted(Surface(POINTS, parts, UV), 5.0)
    at = 0
    for half, picture in zip(halves, pictures, strict=True):
        places = uv[index[at : at + len(half)]].mean(axis=1)
        np.testing.assert_array_equal(colour_at(texture, places), colour_at(picture, UV[half].mean(axis=1)))
        at += len(half)


def test_pictures_that_are_too_large_together_are_refused():
    pictures = [np.zeros((5000, 7000, 3), np.uint8), np.ones((5000, 7000, 3), np.uint8)]
    parts = tuple(Part(TRIANGLES[:3], TRIANGLES[:3], picture) for picture in pictures)
    with pytest.raises(MeshError, match="shrink them"):
        painted(Surface(POINTS, parts, UV), 5.0)


def test_colours_of_points_reach_the_maps(tmp_path):
    """A face whose points' colours are linear in x, y, z shows them in every pixel."""
    face = make_scan(0, "HA", 3, database="bu3dfe", seed=5)[0]
    points, triangles = face.points, face.triangles
    keep = (np.abs(points[triangles].mean(axis=1) - face.landmarks["right_eye_inner"]) < (70, 95, 90)).all(axis=1)
    points, triangles = split(points, triangles[keep])
    colours = np.round(128 + 0.6 * points).clip(0, 255).astype(np.uint8)
    write_ply(tmp_path / "face.ply", points, triangles, colours)
    rows = [",".join(map(str, (name, *at))) for name, at in face.landmarks.items() if name in LANDMARKS]
    (tmp_path / "face.landmarks.csv").write_text("\n".join(rows), encoding="utf-8")
    maps = preprocess(read_scan(tmp_path / "face.ply"))
    rows, cols = np.nonzero(maps.seen)
    x = maps.origin[0] + cols * maps.mm_per_pixel
    y = maps.origin[1] - rows * maps.mm_per_pixel
    places = np.stack([x, y, maps.depth[rows, cols]], axis=1) @ maps.to_scan[:3, :3].T + maps.to_scan[:3, 3]
    error = np.abs(maps.texture[rows, cols] - (128 + 0.6 * places).clip(0, 255)).max(axis=1)
    assert np.median(error) < 1 and np.quantile(error, 0.99) < 4


def split(points, triangles):
    """Every triangle into four."""
    a, b, c = triangles.T
    count = len(triangles)
    middles = [(points[one] + points[other]) / 2 for one, other in ((a, b), (b, c), (c, a))]
    ab, bc, ca = (len(points) + k * count + np.arange(count) for k in range(3))
    parts = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
    return np.concatenate([points, *middles]), np.concatenate([np.stack(part, axis=1) for part in parts])


def write_ply(path, points, triangles, colours):
    vertex = np.zeros(len(points), [("at", "<f4", 3), ("colour", "u1", 3)])
    vertex["at"], vertex["colour"] = points, colours
    face = np.zeros(len(triangles), [("size", "u1"), ("corners", "<i4", 3)])
    face["size"], face["corners"] = 3, triangles
    names = [f"property float {axis}" for axis in "xyz"] + [f"property uchar {c}" for c in ("red", "green", "blue")]
    head = ["ply", "format binary_little_endian 1.0", f"element vertex {len(points)}", *names]
    head += [f"element face {len(triangles)}", "property list uchar int vertex_indices", "end_header\n"]
    path.write_bytes("\n".join(head).encode() + vertex.tobytes() + face.tobytes())


@pytest.mark.parametrize("unused", [np.nan, 7.0])
def test_rounding_beside_the_picture_and_unused_texture_points_tear_no_chart_apart(unused):
    uv = np.vstack([np.where(UV.min(axis=0) == UV, -1e-4, UV), [(unused, unused)]])
    picture = np.zeros((8, 8, 3), np.uint8)
    found, index, _ = painted(Surface(POINTS, (Part(TRIANGLES, TRIANGLES, picture),), uv), 5.0)
    np.testing.assert_array_equal(index, TRIANGLES)
    np.testing.assert_allclose(found[:-1], uv[:-1].clip(0, 1), atol=1e-6)


def test_a_picture_of_which_one_place_is_shown_gives_no_colours(tmp_path):
    path = write_obj(tmp_path)
    assert read_scan(path).coloured
    path.write_text(re.sub("vt .*", "vt 0.5 0.5", path.read_text(encoding="utf-8")), encoding="utf-8")
    scan = read_scan(path)
    assert not scan.coloured and COLOURLESS in scan.remarks


def test_texture_points_in_pixels_are_refused():
    picture = np.zeros((512, 512, 3), np.uint8)
    with pytest.raises(MeshError, match=r"reach .*, expected 0 to 1; divide pixels by the picture's width"):
        painted(Surface(POINTS, (Part(TRIANGLES, TRIANGLES, picture),), 512 * UV), 5.0)
