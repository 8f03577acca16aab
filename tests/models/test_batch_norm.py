"""Batch normalisation against NumPy and against JAX's own gradient of its definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from afnet_jax.models.batch_norm import BatchNorm, statistics


@pytest.mark.parametrize("platform", ["cpu", "cuda"])
def test_running_variance_is_the_unbiased_one(platform):
    draw = np.random.RandomState(0)
    features = draw.randn(3, 4, 5, 2).astype(np.float32) * [2, 0.5] + [100, -1]
    norm = BatchNorm(2, platform=platform)
    outputs = norm(jnp.asarray(features, jnp.float32), train=True)
    rows = features.reshape(-1, 2)
    np.testing.assert_allclose(norm.mean[...], 0.1 * rows.mean(0), rtol=1e-5)
    np.testing.assert_allclose(norm.var[...], 0.9 + 0.1 * rows.var(0, ddof=1), rtol=1e-4)
    np.testing.assert_allclose(np.asarray(outputs).reshape(-1, 2).std(0), 1, rtol=1e-3)
    np.testing.assert_allclose(norm(jnp.asarray(features), train=False)[0, 0, 0, 1], features[0, 0, 0, 1], atol=0.2)


def definition(x, scale, bias, shortcut, relu):
    mean = x.mean((0, 1, 2))
    y = (x - mean) / jnp.sqrt(((x - mean) ** 2).mean((0, 1, 2)) + 1e-5) * scale + bias
    y = y if shortcut is None else y + shortcut
    return jax.nn.relu(y) if relu else y


@pytest.mark.parametrize("folds", [None, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("relu", "adds"), [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize("platform", ["cpu", "cuda"])
def test_value_and_gradient_are_those_of_the_definition(platform, relu, adds, folds):
    with jax.enable_x64(True):
        draw = np.random.RandomState(1)
        axes = () if folds is None else (folds,)
        x, grad, shortcut = (jnp.asarray(draw.randn(*axes, 2, 3, 4, 5)) for _ in range(3))
        scale, bias = (jnp.asarray(draw.randn(*axes, 5)) for _ in range(2))

        def ours(x, scale, bias, shortcut):
            norm = BatchNorm(5, platform=platform)
            norm.scale, norm.bias = nnx.Param(scale), nnx.Param(bias)
            return norm(x, train=True, relu=relu, shortcut=shortcut if adds else None)

        def theirs(x, scale, bias, shortcut):
            return definition(x, scale, bias, shortcut if adds else None, relu)

        pulled = []
        for function in (ours, theirs):
            mapped = function if folds is None else jax.vmap(function)
            value, pull_back = jax.vjp(mapped, x, scale, bias, shortcut)
            pulled.append((value, *pull_back(grad)))
        for found, expected in zip(*pulled, strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("platform", ["cpu", "cuda"])
def test_narrow_features_keep_wide_statistics(platform):
    features = jnp.asarray(300 + np.random.RandomState(2).randn(8, 8, 8, 1), jnp.bfloat16)
    norm = BatchNorm(1, platform=platform)
    assert norm(features, train=True).dtype == jnp.bfloat16
    expected = np.asarray(features, np.float64)
    np.testing.assert_allclose(norm.mean[...], 0.1 * expected.mean(), rtol=1e-5)
    np.testing.assert_allclose(norm.var[...], 0.9 + 0.1 * expected.var(ddof=1), rtol=1e-5)


@pytest.mark.parametrize("platform", ["cpu", "cuda"])
def test_statistics_far_from_0_are_as_good_as_near_it(platform):
    """Also where a channel hardly varies; and the variance is 0 where it is constant."""
    draw = np.random.RandomState(3)
    features = np.concatenate(
        [offset + spread * draw.randn(16, 28, 28, 1) for offset, spread in ((0, 1), (1000, 1), (-3, 0.01), (5, 0))], -1
    ).astype(np.float32)
    rows = features.reshape(-1, 4).astype(np.float64)
    mean, var = statistics(platform, jnp.asarray(features))
    np.testing.assert_allclose(mean, rows.mean(0), rtol=2e-6, atol=2e-5)
    np.testing.assert_allclose(var[:3], rows.var(0)[:3], rtol=1e-4)
    assert var[3] < 1e-12
