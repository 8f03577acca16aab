"""The stem's max-pool against XLA's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from afnet_jax.models.pooling import max_pool


def library_pool(x):
    return nnx.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))


@pytest.mark.parametrize("levels", [1, 3, 1000], ids=["all equal", "many ties", "hardly any"])
@pytest.mark.parametrize("shape", [(2, 12, 8, 3), (1, 2, 2, 1)])
def test_maxima_and_gradients_are_the_librarys(shape, levels):
    draw = np.random.RandomState(0)
    x = jnp.asarray(draw.randint(-levels, levels, shape), jnp.float32)
    grad = jnp.asarray(draw.randn(shape[0], shape[1] // 2, shape[2] // 2, shape[3]), jnp.float32)
    (found, found_vjp), (expected, expected_vjp) = jax.vjp(max_pool, x), jax.vjp(library_pool, x)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(found_vjp(grad)[0], expected_vjp(grad)[0], atol=1e-6)


def test_folds_side_by_side_are_folds_one_by_one():
    x = jnp.asarray(np.random.RandomState(1).randn(3, 2, 8, 8, 4), jnp.bfloat16)
    gradient = jax.grad(lambda images: (max_pool(images).astype(jnp.float32) ** 2).sum())
    np.testing.assert_array_equal(jax.jit(jax.vmap(gradient))(x), jnp.stack([gradient(each) for each in x]))
