"""Normalisation, ReLU and pool as one function against the three one after the other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from afnet_jax.models.batch_norm import BatchNorm
from afnet_jax.models.normalised_pooling import normalise_and_pool
from afnet_jax.models.pooling import largest, max_pool


def _arguments(folds, dtype=np.float64):
    draw = np.random.RandomState(0)
    features = draw.randn(folds, 2, 6, 8, 5)
    features[:, :, :4, :4] = 0.25  # as outside the face: whole windows of equal features
    scale = draw.randn(folds, 5)  # of either sign
    return jnp.asarray(features, dtype), jnp.asarray(scale, dtype), jnp.asarray(draw.randn(folds, 5), dtype)


def _norm(scale, bias, platform="cuda"):
    norm = BatchNorm(5, platform=platform)
    norm.scale, norm.bias = nnx.Param(scale), nnx.Param(bias)
    return norm


def _together(train, features, scale, bias):
    norm = _norm(scale, bias)
    return normalise_and_pool(norm, features, train=train), *norm.running


def _apart(train, features, scale, bias):
    norm = _norm(scale, bias, "cpu")
    return max_pool(norm(features, train=train, relu=True)), *norm.running


@pytest.mark.slow
@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("vmapped", [True, False])
def test_value_statistics_and_gradients(vmapped, train):
    with jax.enable_x64(True):
        arguments, grad = _arguments(3), jnp.asarray(np.random.RandomState(1).randn(3, 2, 3, 4, 5))
        if not vmapped:
            arguments, grad = jax.tree.map(lambda a: a[1], (arguments, grad))
        outcomes = []
        for function in (_together, _apart):
            bound = lambda *a, function=function: function(train, *a)  # noqa: E731
            value, pull_back = jax.vjp(jax.vmap(bound) if vmapped else bound, *arguments)
            outcomes.append((value, pull_back((grad, *map(jnp.zeros_like, value[1:]))) if train else None))
        for found, expected in zip(*map(jax.tree.leaves, outcomes), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_a_channel_of_scale_0_has_finite_gradients():
    features, _, bias = jax.tree.map(lambda a: a[0], _arguments(1, np.float32))
    value, pull_back = jax.vjp(lambda *a: _together(True, *a)[0], features, jnp.zeros(5), bias)
    np.testing.assert_allclose(value, np.broadcast_to(np.maximum(bias, 0), value.shape), rtol=1e-6)
    gradients = pull_back(jnp.ones_like(value))
    assert all(np.isfinite(g).all() for g in gradients)
    np.testing.assert_allclose(gradients[2], np.where(np.asarray(bias) > 0, 2 * 3 * 4, 0))


def test_maxima_and_the_first_place_of_each():
    x = np.random.RandomState(2).randint(0, 3, (2, 6, 6, 3)).astype(np.float32)
    maxima, places = largest(jnp.asarray(x))
    np.testing.assert_array_equal(maxima, max_pool(jnp.asarray(x)))
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    for row in range(3):
        for col in range(3):
            window = padded[:, 2 * row : 2 * row + 3, 2 * col : 2 * col + 3].reshape(2, 9, 3)
            np.testing.assert_array_equal(places[:, row, col], window.argmax(1))
