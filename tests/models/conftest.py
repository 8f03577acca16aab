"""What the tests of the network share."""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from afnet_jax.models.afnet import AFNet
from afnet_jax.models.architecture import VARIANTS


@pytest.fixture(scope="session")
def blank_model():
    """A function: variant -> its network with every parameter and statistic 0, at once there."""

    def make(variant: str) -> AFNet:
        abstract = nnx.eval_shape(lambda: AFNet(VARIANTS[variant], rngs=nnx.Rngs(0)))
        graph, state = nnx.split(abstract)
        return nnx.merge(graph, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), state))

    return make
