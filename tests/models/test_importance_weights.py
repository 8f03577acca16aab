"""The global maximum of importance weights: where its gradient goes, and that every compiler makes a number of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from afnet_jax.models.architecture import VARIANTS
from afnet_jax.models.importance_weights import global_max
from tests.models.test_afnet import faces, folds_of


def test_the_gradient_goes_to_the_first_of_the_largest():
    x = jnp.asarray([[[0.0, 3.0], [2.0, 3.0]], [[2.0, 1.0], [-1.0, 3.0]]])[None]
    top, back = jax.vjp(global_max, x)
    np.testing.assert_array_equal(top, [[[[2.0, 3.0]]]])
    (gradient,) = back(jnp.asarray([[[[5.0, 7.0]]]]))
    np.testing.assert_array_equal(gradient, [[[[0.0, 7.0], [5.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]]])


@pytest.mark.slow
def test_the_gradient_is_finite_where_the_compiler_computes_features_twice():
    """As this one does where it optimises nothing: with JAX's own gradient of a maximum all was NaN from here on."""
    graph, params, stats = folds_of(VARIANTS["afnet"], 1)
    params, stats = (jax.tree.map(lambda leaf: leaf[0], part) for part in (params, stats))

    def loss(params):
        return jnp.square(nnx.merge(graph, params, stats, copy=True)(faces(size=32), train=True)).sum()

    gradients = jax.jit(jax.grad(loss), compiler_options={"xla_backend_optimization_level": "0"})(params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
