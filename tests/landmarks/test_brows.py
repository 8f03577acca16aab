"""Brows of a painted surface: dark bands whose places are known."""

import numpy as np
import pytest

from afnet_jax.geometry.alignment import TEMPLATE
from afnet_jax.geometry.rendering import TexturedMesh
from afnet_jax.landmarks.brows import brows_by_colour
from afnet_jax.scans.range_grid import grid_triangles

PARTS = ("inner", "middle", "outer")
EDGE = 180  # mm of a painted square sheet whose middle is the origin of the canonical frame
PER_MM = 2  # pixels


def sheet(moved: dict[str, float], brightness: float = 1.0, dark: float = 0.35) -> TexturedMesh:
    """A bent sheet with dark eyes and, on each side of `moved`, a brow painted so many mm above the template's.

    Args:
        moved: side -> mm, up.
        brightness: of the skin; dark: of a brow, as a share of it.
    """
    y, x = np.mgrid[EDGE / 2 : -EDGE / 2 : EDGE * PER_MM * 1j, -EDGE / 2 : EDGE / 2 : EDGE * PER_MM * 1j]
    shade = np.ones_like(x)
    for side, up in moved.items():
        corners = np.stack([TEMPLATE[f"{side}_brow_{part}"] for part in PARTS])
        order = np.argsort(corners[:, 0])
        line = np.interp(x, corners[order, 0], corners[order, 1]) + up
        within = (x >= corners[:, 0].min()) & (x <= corners[:, 0].max())
        shade[within & (np.abs(y - line) < 2.5)] = dark
    shade[(np.abs(np.abs(x) - 31) < 15) & (np.abs(y - 1) < 4)] = 0.2
    texture = np.repeat(np.round(200 * brightness * shade)[..., None], 3, axis=-1).astype(np.uint8)
    count = EDGE // 2 + 1
    v, u = np.mgrid[0 : 1 : count * 1j, 0 : 1 : count * 1j]
    flat = np.stack([(u - 0.5) * EDGE, (0.5 - v) * EDGE], axis=-1).reshape(-1, 2)
    points = np.column_stack([flat, height(flat[:, 0])])
    triangles = grid_triangles(np.arange(count * count).reshape(count, count)[::-1])
    uv = np.stack([u, v], axis=-1).reshape(-1, 2).astype(np.float32)
    return TexturedMesh(points, triangles, uv, triangles, texture)


def height(x: np.ndarray) -> np.ndarray:
    return 20 - x**2 / 150


def landmarks() -> dict[str, np.ndarray]:
    return {name: np.array([*at[:2], height(at[0])]) for name, at in TEMPLATE.items()}


@pytest.mark.parametrize(("right", "left"), [(-6, -6), (0, 0), (4, 4), (-5, 3)])
def test_brows_come_to_lie_on_what_is_painted(right, left):
    before = landmarks()
    after = brows_by_colour(sheet({"right": right, "left": left}), before)
    assert set(after) == {f"{side}_brow_{part}" for side in ("right", "left") for part in PARTS}
    for name, at in after.items():
        np.testing.assert_allclose(at[0], before[name][0])
        assert abs(at[1] - before[name][1] - (right if "right" in name else left)) < 2.1
        assert abs(at[2] - height(at[0])) < 0.5


def test_light_does_not_matter():
    bright, dim = (brows_by_colour(sheet({"right": -5, "left": -5}, light), landmarks()) for light in (1.0, 0.5))
    for name, at in bright.items():
        np.testing.assert_allclose(dim[name], at)


@pytest.mark.parametrize("seen", ["right", "left"])
def test_a_brow_that_is_not_seen_stays(seen):
    after = brows_by_colour(sheet({seen: -5}), landmarks())
    assert set(after) == {f"{seen}_brow_{part}" for part in PARTS}


def test_without_dark_brows_none_moves():
    assert brows_by_colour(sheet({}), landmarks()) == {}
    assert brows_by_colour(sheet({"right": -5, "left": -5}, dark=0.9), landmarks()) == {}


def test_a_surface_beside_the_view_has_no_brows():
    mesh = sheet({"right": 0, "left": 0})
    away = TexturedMesh(mesh.points + np.array([0, 500, 0]), mesh.triangles, mesh.uv, mesh.uv_triangles, mesh.texture)
    assert brows_by_colour(away, landmarks()) == {}
