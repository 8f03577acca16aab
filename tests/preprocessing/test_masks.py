"""Masks cover eyes with brows, nose and mouth, and nothing else."""

import numpy as np
import pytest

from afnet_jax.geometry.alignment import TEMPLATE
from afnet_jax.preprocessing.masks import salient_masks
from afnet_jax.preprocessing.pipeline import PreprocessingConfig

GRID = PreprocessingConfig().grid


def value_at(mask, place):
    block = 224 / len(mask)
    row, col = (GRID.origin[1] - place[1]) / GRID.step, (place[0] - GRID.origin[0]) / GRID.step
    return mask[int((row + 0.5) // block), int((col + 0.5) // block)]


@pytest.fixture(scope="module")
def masks():
    return salient_masks(TEMPLATE, GRID)


@pytest.mark.parametrize("size", [56, 28])
def test_shape_and_range(masks, size):
    mask = masks[size]
    assert mask.shape == (size, size) and mask.dtype == np.float32
    assert mask.min() == 0 and mask.max() <= 1 and mask.max() > 0.99
    assert ((mask > 0.05) & (mask < 0.95)).any(), "soft edges"


@pytest.mark.parametrize("name", sorted(set(TEMPLATE) - {"chin"}))
def test_covers_the_landmarks(masks, name):
    assert value_at(masks[56], TEMPLATE[name]) > 0.5


@pytest.mark.parametrize(
    "place", [(0, -109), (0, 60), (0, 45), (45, -35), (-45, -35), (60, -70), (40, -90), (70, 0), (-110, 80), (32, -30)]
)
def test_leaves_out_cheeks_forehead_and_chin(masks, place):
    assert value_at(masks[56], place) == 0


def test_the_smaller_is_the_mean_of_the_larger(masks):
    np.testing.assert_allclose(masks[28], masks[56].reshape(28, 2, 28, 2).mean(axis=(1, 3)), atol=1e-6)


def test_is_symmetric_for_a_symmetric_face(masks):
    np.testing.assert_allclose(masks[56], masks[56][:, ::-1], atol=1e-6)


def test_follows_an_open_mouth(masks):
    landmarks = TEMPLATE | {"lower_lip_outer": TEMPLATE["lower_lip_outer"] + (0, -25, 0)}
    opened = salient_masks(landmarks, GRID)[56]
    assert value_at(opened, (0, -100)) > 0.9 and value_at(masks[56], (0, -100)) == 0


def test_both_databases_get_the_same_mask(masks):
    """BU-3DFE has no saddles and many more points; its nose tip is found from geometry."""
    bu3dfe = {name: at for name, at in TEMPLATE.items() if "saddle" not in name} | {"contour_1": np.full(3, 50.0)}
    np.testing.assert_array_equal(salient_masks(bu3dfe, GRID)[56], masks[56])


def test_a_missing_landmark_is_taken_from_the_template(masks):
    partial = {name: at for name, at in TEMPLATE.items() if name not in ("mouth_left", "left_brow_outer")}
    np.testing.assert_array_equal(salient_masks(partial, GRID)[56], masks[56])
