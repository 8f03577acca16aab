"""Starting weights of every layer, by the laws of the paper, of torchvision and of PyTorch.

| parameters | start |
|---|---|
| convolutions of the trunks | normal, variance 2 / (kernel area × output channels), as torchvision's ResNet |
| convolutions of MA and IWC | N(0, 0.02), biases 0 (section III-B of the paper) |
| fully-connected layers | weights and biases uniform in ±1/√inputs, as PyTorch's |
| batch normalisation | scale 1, bias 0, running mean 0 and variance 1 |
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from flax import nnx

# Layers are built with kernels of 0, for `initialise` sets them all at once.
zeros = nnx.initializers.zeros_init()


def initialise(model: nnx.Module, rngs: nnx.Rngs) -> None:
    """Sets the starting weights of a network that has just been built, in place.

    All come from one draw of normals: XLA takes half a second to compile a draw, and the network has some sixty
    kernels.
    """
    params = dict(nnx.to_flat_state(nnx.state(model, nnx.Param)))
    drawn = [path for path in params if path[0] == "head" or path[-1] == "kernel"]
    normals = jax.random.normal(rngs.params(), (sum(params[path].size for path in drawn),), jnp.float32)
    normals = jax.lax.optimization_barrier(normals)  # or XLA draws anew for each kernel
    start = 0
    for path in drawn:
        shape, size = params[path].shape, params[path].size
        params[path][...] = _start(path, params)(normals[start : start + size].reshape(shape))
        start += size
    nnx.update(model, nnx.from_flat_state(params.items()))


def _start(path, params):
    """Standard normals -> starting weights of the parameter at `path`."""
    kernel = params[(*path[:-1], "kernel")]
    if path[0] == "trunks":
        height, width, _, channels = kernel.shape
        return lambda normals: math.sqrt(2 / (height * width * channels)) * normals
    if path[0] == "head":
        # erf(z / √2) of a standard normal z is uniform in (-1, 1).
        return lambda normals: jax.scipy.special.erf(normals / math.sqrt(2)) / math.sqrt(kernel.shape[0])
    return lambda normals: 0.02 * normals
