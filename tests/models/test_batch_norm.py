"""Batch normalisation against NumPy and against JAX's own gradient of its definition."""

import jax
import jax.numpy as jnp
import numpy as np

from afnet_jax.models.batch_norm import BatchNorm, _normalise


def test_running_variance_is_the_unbiased_one():
    draw = np.random.RandomState(0)
    features = draw.randn(3, 4, 5, 2).astype(np.float32) * [2, 0.5] + [100, -1]
    norm = BatchNorm(2)
    outputs = norm(jnp.asarray(features, jnp.float32), train=True)
    rows = features.reshape(-1, 2)
    np.testing.assert_allclose(norm.mean[...], 0.1 * rows.mean(0), rtol=1e-5)
    np.testing.assert_allclose(norm.var[...], 0.9 + 0.1 * rows.var(0, ddof=1), rtol=1e-4)
    np.testing.assert_allclose(np.asarray(outputs).reshape(-1, 2).std(0), 1, rtol=1e-3)
    np.testing.assert_allclose(norm(jnp.asarray(features), train=False)[0, 0, 0, 1], features[0, 0, 0, 1], atol=0.2)


def test_gradient_is_that_of_the_definition():
    def definition(x, scale, bias):
        mean = x.mean((0, 1, 2))
        return (x - mean) / jnp.sqrt(((x - mean) ** 2).mean((0, 1, 2)) + 1e-5) * scale + bias

    with jax.enable_x64(True):
        draw = np.random.RandomState(1)
        x, grad = (jnp.asarray(draw.randn(2, 3, 4, 5)) for _ in range(2))
        scale, bias = jnp.asarray(draw.randn(5)), jnp.asarray(draw.randn(5))
        found = jax.vjp(lambda *arguments: _normalise(*arguments)[0], x, scale, bias)[1](grad)
        for ours, theirs in zip(found, jax.vjp(definition, x, scale, bias)[1](grad), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


def test_narrow_features_keep_wide_statistics():
    features = jnp.asarray(300 + np.random.RandomState(2).randn(8, 8, 8, 1), jnp.bfloat16)
    norm = BatchNorm(1)
    assert norm(features, train=True).dtype == jnp.bfloat16
    expected = np.asarray(features, np.float64)
    np.testing.assert_allclose(norm.mean[...], 0.1 * expected.mean(), rtol=1e-5)
    np.testing.assert_allclose(norm.var[...], 0.9 + 0.1 * expected.var(ddof=1), rtol=1e-5)
