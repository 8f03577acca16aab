"""The renderer's parts, each against a second method or a known truth."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from scipy.spatial.transform import Rotation

from afnet_jax.geometry.alignment import TEMPLATE
from afnet_jax.points.masks import draw_masks
from afnet_jax.points.region import face_region
from afnet_jax.points.rendering import grid_of
from afnet_jax.points.surface import fit_colours, fit_heights
from afnet_jax.points.visibility import nearest_points, spread_max
from afnet_jax.preprocessing.masks import salient_masks
from afnet_jax.preprocessing.pipeline import PreprocessingConfig
from afnet_jax.scans.scan import LANDMARKS
from tests.points.conftest import cloud_of_points

pytestmark = pytest.mark.slow  # each test compiles a part of the renderer

GRID = grid_of(128)


def scattered(count: int, seed: int = 0) -> np.ndarray:
    """(count, 3) points at random over the grid's square; z = 0."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(GRID.x[0], GRID.x[-1], count), rng.uniform(GRID.y[-1], GRID.y[0], count)
    return np.stack([x, y, np.zeros(count)], axis=1)


def inner(image, border: int = 8):
    return np.asarray(image)[..., border:-border, border:-border]


def test_each_pixel_sees_its_foremost_point():
    near, far = scattered(9000), scattered(9000, 1)
    near[:, 2], far[:, 2] = 30, -30
    points = np.concatenate([far, near, [[0, 0, np.nan], [0, 0, 500], [1e4, 0, 0]]])
    colours = np.repeat(np.array([10, 200, 99], np.uint8), [9000, 9000, 3])[:, None].repeat(3, 1)
    seen = nearest_points(cloud_of_points(points, colours), GRID)
    row, col = (np.rint(place).astype(int) for place in GRID.to_pixels(near))
    expected = np.zeros((128, 128), bool)
    expected[row, col] = True
    assert (np.asarray(seen.height)[0][expected] == 30).all()
    assert (np.asarray(seen.colours)[:, 0][:, expected] == 200).all()
    shown = np.asarray(seen.weight)[0] > 0
    assert shown[expected].all()
    # What lies far behind is left out where it shines through gaps between near points.
    gaps = ~expected & (scipy.ndimage.minimum_filter(scipy.ndimage.maximum_filter(expected, 3), 3))
    assert gaps.sum() > 500 and not shown[gaps].any()


def test_places_within_pixels_are_kept():
    points = scattered(3000)
    seen = nearest_points(cloud_of_points(points), GRID)
    known = np.asarray(seen.weight)[0] > 0
    rows, cols = np.nonzero(known)
    places = np.stack([cols + np.asarray(seen.right)[0][known], rows + np.asarray(seen.down)[0][known]], 1)
    row, col = GRID.to_pixels(points)
    nearest = np.abs(places[:, None] - np.stack([col, row], 1)).sum(-1).min(1)
    assert nearest.max() < 1e-3


def test_a_plane_is_met_exactly_and_spikes_are_left_out():
    points = scattered(16384)
    points[:, 2] = 5 + 0.5 * points[:, 0] - 0.3 * points[:, 1]
    expected = 5 + 0.5 * GRID.x - 0.3 * GRID.y[:, None]
    heights, inlier = fit_heights(nearest_points(cloud_of_points(points), GRID), GRID)
    np.testing.assert_allclose(inner(heights)[0], inner(expected), atol=0.02)
    spiky = points.copy()
    spiky[::100, 2] += np.random.default_rng(2).choice([-1, 1], len(spiky[::100])) * 15
    seen = nearest_points(cloud_of_points(spiky), GRID)
    heights, inlier = fit_heights(seen, GRID)
    np.testing.assert_allclose(inner(heights)[0], inner(expected), atol=0.3)
    off = np.abs(inner(seen.height)[0] - inner(expected)) > 10
    assert off.sum() > 50 and not inner(inlier)[0][off].any()
    assert inner(inlier)[0][(inner(seen.weight)[0] > 0) & ~off].mean() > 0.999


def test_noise_is_smoothed_and_holes_are_filled():
    points = scattered(16384)
    truth = lambda x, y: 20 * np.cos(x / 40) * np.cos(y / 50)  # noqa: E731
    points[:, 2] = truth(points[:, 0], points[:, 1]) + np.random.default_rng(1).normal(0, 0.3, len(points))
    points = points[np.hypot(points[:, 0], points[:, 1] + 20) > 9]
    heights, _ = fit_heights(nearest_points(cloud_of_points(points), GRID), GRID)
    error = np.asarray(heights)[0] - truth(GRID.x, GRID.y[:, None])
    hole = np.hypot(GRID.x, GRID.y[:, None] + 20) < 9
    assert np.abs(error[hole]).max() < 1.5
    assert np.sqrt(np.mean(inner(np.where(hole, 0, error)) ** 2)) < 0.2


def test_colours_are_interpolated():
    points = scattered(16384)
    colours = np.stack([128 + points[:, 0], 128 + points[:, 1] / 2, np.full(len(points), 77)], axis=1)
    seen = nearest_points(cloud_of_points(points, colours.round().astype(np.uint8)), GRID)
    fitted = np.asarray(fit_colours(seen, seen.weight > 0))[:, 0]
    expected = np.stack(np.broadcast_arrays(128 + GRID.x, 128 + GRID.y[:, None] / 2, 77.0))
    np.testing.assert_allclose(inner(fitted), inner(expected), atol=1.5)


def test_the_region_is_the_middle_part_without_holes():
    rows, cols = np.mgrid[0:128, 0:128]
    face = np.hypot((rows - 60) / 50, (cols - 64) / 38) < 1
    hole = np.hypot(rows - 50, cols - 60) < 9
    elsewhere = (rows > 118) & (cols < 30)
    seen = (face & ~hole) | elsewhere
    seen &= np.random.default_rng(0).random(seen.shape) < 0.8
    region = np.asarray(face_region(jnp.asarray(seen)[None], GRID))[0]
    part, _ = scipy.ndimage.label(scipy.ndimage.binary_closing(seen, iterations=2))
    expected = scipy.ndimage.binary_fill_holes(part == part[60, 64 + 25])
    assert (region & expected).sum() / (region | expected).sum() > 0.97
    assert region[hole].all() and not region[elsewhere].any()


@pytest.mark.parametrize("winding", [False, True])
def test_a_winding_way_belongs_to_the_region(winding):
    seen = np.zeros((128, 128), bool)
    seen[52:76, 52:120] = True
    seen[8:76, 108:120] = True
    seen[8:20, 20:120] = True
    if winding:
        seen[8:100, 20:32] = True
    assert (np.asarray(face_region(jnp.asarray(seen)[None], GRID))[0] & seen).sum() == seen.sum()


def test_specks_beyond_the_rim_are_no_face():
    """Points of spikes that happen to lie on the surface's continuation, near enough to share a cell with the face."""
    row, col = np.mgrid[:128, :128]
    face = (row - 64) ** 2 + (col - 64) ** 2 < 40**2
    specks = np.zeros_like(face)
    specks[[20, 64, 64, 99], [64, 20, 108, 90]] = True
    assert not (face & specks).any()
    region = np.asarray(face_region(jnp.asarray(face | specks)[None], GRID))[0]
    assert not region[specks].any() and (region & face).sum() > 0.99 * face.sum()


def test_spreading_is_a_maximum_filter():
    images = np.random.default_rng(0).normal(size=(2, 20, 24)).astype(np.float32)
    found = spread_max(jnp.asarray(images), 2, -9.0)
    for image, each in zip(images, np.asarray(found), strict=True):
        np.testing.assert_array_equal(each, scipy.ndimage.maximum_filter(image, 5, mode="constant", cval=-9))


@pytest.mark.parametrize("size", [32, 64, 224])
def test_masks_are_those_of_preprocessing(size):
    """For faces that differ from one another, turned and with landmarks that are missing."""
    rng = np.random.default_rng(3)
    faces = []
    for k in range(4):
        turned = Rotation.from_euler("zyx", rng.uniform(-15, 15, 3), degrees=True)
        faces.append({name: turned.apply(TEMPLATE[name]) + rng.normal(0, 4, 3) for name in TEMPLATE})
        for name in rng.choice(sorted(TEMPLATE), k, replace=False):
            del faces[-1][name]
    landmarks = np.array([[face.get(name, np.full(3, np.nan)) for name in LANDMARKS] for face in faces], np.float32)
    drawn = draw_masks(jnp.asarray(landmarks), size)
    for index, face in enumerate(faces):
        expected = salient_masks(face, PreprocessingConfig().grid)
        for name, mask in (("mask1", expected[56]), ("mask2", expected[28])):
            edge = drawn[name].shape[1]
            if len(mask) % edge == 0:
                mask = mask.reshape(edge, len(mask) // edge, edge, -1).mean((1, 3))
                np.testing.assert_allclose(drawn[name][index], mask, atol=1e-4 if size == 224 else 0.03)


def test_masks_of_landmarks_at_one_place_are_those_of_preprocessing():
    """The hull's corners and sides then lie on one another, where rounding alone tells left from right."""
    rng = np.random.default_rng(0)
    landmarks = np.tile(np.array([TEMPLATE[name] for name in LANDMARKS], np.float32), (40, 1, 1))
    landmarks += rng.normal(0, 2, landmarks.shape).astype(np.float32)
    for one, other in (("left_brow_middle", "left_brow_inner"), ("upper_lip_outer", "lower_lip_outer")):
        landmarks[:, LANDMARKS.index(one)] = landmarks[:, LANDMARKS.index(other)]
    drawn = jax.jit(functools.partial(draw_masks, size=224))(jnp.asarray(landmarks))["mask1"]
    for mask, places in zip(drawn, landmarks, strict=True):
        face = dict(zip(LANDMARKS, places.astype(float), strict=True))
        np.testing.assert_allclose(mask, salient_masks(face, PreprocessingConfig().grid)[56], atol=1e-4)
