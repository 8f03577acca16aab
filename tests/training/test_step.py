"""Augmentation moves all maps of a scan together and breaks nothing; without it nothing changes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from afnet_jax.training.step import FaceArrays, augment
from tests.training.conftest import make_config

SIZE = 64


@pytest.fixture
def batch() -> FaceArrays:
    """A disc on each map, at the same place of the face."""
    rng = np.random.default_rng(0)
    centres = rng.uniform(0.35, 0.65, (8, 2))

    def disc(size):
        grid = (np.arange(size) + 0.5) / size
        rows, cols = grid[None, :, None] - centres[:, :1, None], grid[None, None, :] - centres[:, 1:, None]
        return (np.hypot(rows, cols) < 0.2).astype(np.float16)[..., None]

    depth = np.where(disc(SIZE) > 0, np.float16(5), np.float16(np.nan))
    texture = (disc(SIZE) * 200).astype(np.uint8).repeat(3, -1)
    return FaceArrays(*map(jnp.asarray, (texture, depth, disc(SIZE // 4), disc(SIZE // 8), np.arange(8) % 6)))


def _augmented(batch, **settings):
    config = make_config(**{f"train.{name}": value for name, value in settings.items()})
    return augment(batch, jax.random.key(3), config.train)


def _centre(maps):
    inside = np.nan_to_num(np.asarray(maps, np.float32)).sum(-1) > 0
    grid = (np.arange(inside.shape[1]) + 0.5) / inside.shape[1]
    return np.stack([(inside.sum(2) @ grid), (inside.sum(1) @ grid)], 1) / inside.sum((1, 2))[:, None]


def test_off_is_off(batch):
    for before, after in zip(batch, _augmented(batch), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("settings", [{"flip": True}, {"max_shift": 8}, {"flip": True, "max_shift": 16}])
def test_all_maps_move_together(batch, settings):
    moved = _augmented(batch, **settings)
    assert not np.array_equal(moved.texture, batch.texture)
    for maps, tolerance in ((moved.depth, 1e-3), (moved.mask56, 0.02), (moved.mask28, 0.04)):
        np.testing.assert_allclose(_centre(maps), _centre(moved.texture), atol=tolerance)


def test_a_flip_mirrors_some_and_leaves_others(batch):
    flipped = np.asarray(_augmented(batch, flip=True).texture)
    same = (flipped == np.asarray(batch.texture)).all((1, 2, 3))
    mirrored = (flipped[:, :, ::-1] == np.asarray(batch.texture)).all((1, 2, 3))
    assert (same | mirrored).all() and same.any() and mirrored.any()


def test_what_a_shift_brings_in_is_outside_the_face(batch):
    moved = _augmented(batch, max_shift=24)
    assert np.isfinite(np.asarray(moved.mask56)).all() and np.isfinite(np.asarray(moved.mask28)).all()
    outside = np.isnan(np.asarray(moved.depth))[..., 0]
    assert (np.asarray(moved.texture)[outside] == 0).all()


def test_colour_changes_within_the_face_alone(batch):
    changed = _augmented(batch, colour_jitter=0.3)
    inside = ~np.isnan(np.asarray(batch.depth))[..., 0]
    assert (np.asarray(changed.texture)[~inside] == 0).all()
    assert (np.asarray(changed.texture)[inside] != np.asarray(batch.texture)[inside]).any()
    np.testing.assert_array_equal(changed.depth, batch.depth)
