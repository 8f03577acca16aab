"""What is in front is seen, and its colours lie where its depth lies."""

import numpy as np
import pytest

from afnet_jax.geometry.cameras import chart_of_triangles, find_camera
from afnet_jax.geometry.rendering import Grid, TexturedMesh, inpaint, rasterize, render_texture

GRID = Grid(32, 1.0, (-15.5, 15.5))
SQUARE = np.array([[0, 1, 2], [0, 2, 3]])


def sheet(x0, x1, y0, y1, z):
    return np.array([[x0, y0, z], [x1, y0, z], [x1, y1, z], [x0, y1, z]], dtype=float)


def test_covers_exactly_the_pixels_inside():
    raster = rasterize(sheet(-10.2, 3.9, -5.1, 8.7, 4.0), SQUARE, GRID)
    x, y = np.meshgrid(GRID.x, GRID.y)
    np.testing.assert_array_equal(raster.seen, (x > -10.2) & (x < 3.9) & (y > -5.1) & (y < 8.7))
    np.testing.assert_allclose(raster.depth, np.where(raster.seen, 4, np.nan))


def test_depth_and_weights_are_those_of_the_plane():
    points = sheet(-12, 12, -12, 12, 0.0)
    points[:, 2] = 0.3 * points[:, 0] - 0.7 * points[:, 1] + 2
    raster = rasterize(points, SQUARE, GRID)
    x, y = np.meshgrid(GRID.x, GRID.y)
    at = raster.seen
    np.testing.assert_allclose(raster.depth[at], (0.3 * x - 0.7 * y + 2)[at], atol=1e-9)
    places = np.einsum("kt,ktc->kc", raster.weights[at], points[SQUARE[raster.triangle[at]]])
    np.testing.assert_allclose(places[:, :2], np.stack([x[at], y[at]], axis=1), atol=1e-9)


@pytest.mark.parametrize("order", [1, -1])
def test_the_foremost_hides_the_rest(order):
    back, front = sheet(-12, 12, -12, 12, 0.0), sheet(-5, 5, -5, 5, 9.0)
    points, triangles = np.vstack([back, front]), np.vstack([SQUARE, SQUARE + 4])[::order]
    raster = rasterize(points, triangles, GRID)
    x, y = np.meshgrid(GRID.x, GRID.y)
    covered = (np.abs(x) < 5) & (np.abs(y) < 5)
    np.testing.assert_allclose(raster.depth[raster.seen], np.where(covered, 9, 0)[raster.seen], atol=1e-9)


def test_a_back_hides_but_is_not_seen():
    points = np.vstack([sheet(-12, 12, -12, 12, 0.0), sheet(-5, 5, -5, 5, 9.0)])
    raster = rasterize(points, np.vstack([SQUARE, SQUARE[:, ::-1] + 4]), GRID)
    x, y = np.meshgrid(GRID.x, GRID.y)
    np.testing.assert_array_equal(raster.seen, (np.maximum(abs(x), abs(y)) < 12) & (np.maximum(abs(x), abs(y)) > 5))


def test_out_of_view_and_degenerate_triangles_are_nothing():
    points = np.vstack([sheet(100, 120, 0, 20, 1.0), np.zeros((3, 3)), [[-1, 0, 0], [0, 0, 0], [1, 0, 0]]])
    assert not rasterize(points, np.vstack([SQUARE, [[4, 5, 6], [7, 8, 9]]]), GRID).seen.any()


def wave(x, y):
    """A pattern of 12 and 16 mm: colours tell the place to a fraction of a pixel."""
    x, y = np.broadcast_arrays(x, y)
    return np.stack([np.cos(x * 2 * np.pi / 12), np.cos(y * 2 * np.pi / 16), np.sin((x + y) / 5)], axis=-1) * 100 + 128


def two_charts(scan, face, width=600, height=500):
    """BU-3DFE's way: the x < 0 side upright in the right half, the other upside down in the left half."""
    middle = scan.points[scan.triangles][:, :, 0].mean(axis=1)
    upright = face.to_uv(scan.points)
    right, left = upright * (0.5, 1) + (0.5, 0), (1 - upright) * (0.5, 1)
    uv_triangles = np.where((middle < 0)[:, None], scan.triangles, scan.triangles + len(scan.points))
    column, row = np.meshgrid((np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height)
    u, v = np.where(column > 0.5, 2 * column - 1, 1 - 2 * column), np.where(column > 0.5, row, 1 - row)
    texture = wave(u * 160 - 80, face.middle + 100 - v * 200).round().astype(np.uint8)
    return np.vstack([right, left]).astype(np.float32), uv_triangles, texture


@pytest.fixture(scope="module")
def painted(face):
    """Texture of a two-chart atlas beside what it shows: (rendered, expected, face)."""
    scan, grid = face.scan(2.0), Grid(224, 1.0, (-111.5, 85.0))
    uv, uv_triangles, texture = two_charts(scan, face)
    hole = np.hypot(*(scan.points[scan.triangles].mean(axis=1)[:, :2] - (0, -70)).T) < 12
    mesh = TexturedMesh(scan.points, scan.triangles[~hole], uv, uv_triangles[~hole], texture)
    whole = rasterize(scan.points, scan.triangles, grid)
    raster = rasterize(scan.points, mesh.triangles, grid)
    picture = render_texture(mesh, raster, whole.depth, whole.seen, grid)
    return picture, wave(*np.meshgrid(grid.x, grid.y)), whole.seen, whole.seen & ~raster.seen


def test_colours_lie_where_their_depth_lies(painted):
    picture, expected, face, _ = painted
    for axis in (0, 1):
        slope = np.gradient(expected, axis=axis)
        shift = ((picture - expected) * slope)[face].sum() / (slope**2)[face].sum()
        assert abs(shift) < 0.1, "pixels"


def test_no_seam_between_charts(painted):
    picture, expected, face, _ = painted
    error = np.abs(picture - expected).max(axis=2)
    column = np.broadcast_to(np.arange(224), face.shape)
    seam = face & (np.abs(column - 111.5) < 3)
    assert error[seam].mean() < 1.5 * error[face].mean() and error[face].mean() < 5
    assert (picture[~face] == 0).all()


def test_a_hole_shows_what_the_photograph_shows_there(painted):
    picture, expected, _, hole = painted
    assert hole.sum() > 300
    assert np.abs(picture - expected)[hole].mean() < 8


def test_charts_are_told_apart(face):
    scan = face.scan(4.0)
    uv, uv_triangles, _ = two_charts(scan, face)
    chart = chart_of_triangles(uv_triangles, len(uv))
    np.testing.assert_array_equal(chart == chart[0], (uv_triangles < len(scan.points)).all(axis=1) == (chart[0] == 0))


def test_recovers_a_perspective_camera(face):
    points = face.scan(4.0).points
    matrix = np.array([[900.0, 50, -200, 4e5], [20, -950, -150, 3e5], [0.1, 0.02, -0.9, 1200]])
    image = np.column_stack([points, np.ones(len(points))]) @ matrix.T
    texels = image[:, :2] / image[:, 2:]
    camera = find_camera(points, texels)
    assert camera.error < 1e-3
    behind = points[::7] - (0, 0, 15)
    expected = np.column_stack([behind, np.ones(len(behind))]) @ matrix.T
    np.testing.assert_allclose(camera.project(behind), expected[:, :2] / expected[:, 2:], atol=0.05)
    assert find_camera(points[:9], texels[:9]) is None
    assert find_camera(points, np.random.default_rng(0).uniform(0, 500, texels.shape)).error > 100


def test_inpaint_stays_within_its_surroundings():
    picture = np.zeros((60, 60, 3), np.float32)
    picture[:, :30], picture[:, 30:] = 50, 150
    known = np.ones((60, 60), dtype=bool)
    known[10:40, 20:45] = False
    filled = inpaint(np.where(known[..., None], picture, 999), known, ~known)
    assert filled.min() > 49.99 and filled.max() < 150.01
    np.testing.assert_array_equal(filled[known], picture[known])
    assert (filled[:, 22][10:40] < filled[:, 43][10:40]).all()


def test_a_hole_beside_a_piece_of_an_atlas_shows_the_skin_round_it(face):
    """Strips of 16 mm, black between them: each is flat enough for a camera of its own."""
    scan, grid, count = face.scan(2.0), Grid(224, 1.0, (-111.5, 85.0)), 10
    middle = scan.points[scan.triangles].mean(axis=1)
    strip = ((middle[:, 0] + 80) // 16).astype(int)
    across, down = face.to_uv(scan.points).T
    uv = np.concatenate([np.stack([across * count + k, down * 2 * count], axis=1) for k in range(count)]) / (2 * count)
    texture, column = np.zeros((400, 800, 3), np.uint8), np.arange(800) % 80
    texture[:, (column < 43) | (column > 76)] = (200, 150, 120)
    hole = np.hypot(*(middle[:, :2] - (21, -70)).T) < 10
    uv_triangles = scan.triangles + strip[:, None] * len(scan.points)
    mesh = TexturedMesh(scan.points, scan.triangles[~hole], uv.astype(np.float32), uv_triangles[~hole], texture)
    whole, raster = rasterize(scan.points, scan.triangles, grid), rasterize(scan.points, mesh.triangles, grid)
    filled = render_texture(mesh, raster, whole.depth, whole.seen, grid)[whole.seen & ~raster.seen]
    assert len(filled) > 200 and np.abs(filled - (200, 150, 120)).max() < 1
