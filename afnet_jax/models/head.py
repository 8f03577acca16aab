"""From convolutional features to logits: global average pool and fully-connected layers.

Shapes: N scans, features (N, h, w, 512) by trunk, logits (N, num_classes).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from afnet_jax.models.architecture import STAGES, WIDTHS, Architecture
from afnet_jax.models.fusion import Fusion, concatenate


class Head(nnx.Module):
    """Fully-connected layers, ReLU after all but the last, in float32: a stack of hidden ones per trunk that is read.

    Args:
        architecture: of the network.
        fusion: its strategy, which says what reads which trunk.
        linear: makes a fully-connected layer, as `nnx.Linear` is called.
    """

    def __init__(self, architecture: Architecture, fusion: Fusion, *, linear: Callable):
        self.fusion = fusion
        widths = (WIDTHS[STAGES[-1]], *architecture.head_widths)
        self.read = tuple(itertools.chain.from_iterable(fusion.logits.values()))
        self.hidden = nnx.Dict({name: _stack(widths, linear) for name in self.read})
        self.logits = nnx.Dict(
            {name: linear(len(read) * widths[-1], architecture.num_classes) for name, read in fusion.logits.items()}
        )

    def __call__(self, features: dict[str, jax.Array]) -> jax.Array:
        hidden = {name: self._hidden_features(name, features[name]) for name in self.read}
        joined = concatenate(self.fusion.logits, hidden)
        return self.fusion.decide([self.logits[name](joined[name]) for name in self.fusion.logits])

    def _hidden_features(self, name: str, features: jax.Array) -> jax.Array:
        x = features.mean((1, 2), dtype=jnp.promote_types(features.dtype, jnp.float32))
        for linear in self.hidden[name]:
            x = nnx.relu(linear(x))
        return x


def _stack(widths: tuple[int, ...], linear: Callable) -> nnx.List:
    return nnx.List([linear(before, after) for before, after in itertools.pairwise(widths)])
