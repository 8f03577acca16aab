"""What the networks see of a depth image."""

import jax.numpy as jnp
import numpy as np
import pytest

from afnet_jax.landmarks.network import features

STEP = 2.0


@pytest.fixture
def hill() -> np.ndarray:
    row, col = np.mgrid[:48, :48]
    depth = 60 * np.exp(-((row - 20) ** 2 + (col - 27) ** 2) / 150).astype(np.float32)
    depth[:, :6] = np.nan
    depth[30, 30] = np.nan
    return depth


def seen(depth: np.ndarray) -> np.ndarray:
    return np.asarray(features(jnp.asarray(depth)[None], STEP)[0][0])


def test_a_tilted_plane_has_its_normal_everywhere():
    x, y = STEP * np.arange(32), -STEP * np.arange(32)[:, None]
    normal = np.array([0.3, -0.2, 1.0])
    normal /= np.linalg.norm(normal)
    depth = (-(normal[0] * x + normal[1] * y) / normal[2]).astype(np.float32)
    inner = seen(depth)[2:-2, 2:-2]
    assert np.allclose(inner[..., 1], normal[0], atol=1e-3)
    assert np.allclose(inner[..., 2], normal[1], atol=1e-3)
    assert (inner[..., 3] == 1).all()


def test_do_not_change_when_the_surface_comes_nearer(hill):
    assert np.allclose(seen(hill), seen(hill + 250), atol=1e-3)


def test_are_mirrored_with_the_surface(hill):
    mirrored = seen(hill[:, ::-1])[:, ::-1] * [1, -1, 1, 1]
    assert np.allclose(mirrored, seen(hill), atol=1e-4)


def test_are_zero_where_there_is_no_surface(hill):
    assert not seen(hill)[np.isnan(hill)].any()
    assert not seen(np.full((32, 32), np.nan, np.float32)).any()


def test_a_single_spike_is_clipped_to_its_neighbours():
    spiky = np.zeros((32, 32), np.float32)
    spiky[10, 20] = 35
    assert np.allclose(seen(spiky), [0, 0, 0, 1])
