"""From convolutional features to logits: global average pool and fully-connected layers.

Shapes: N scans, features (N, h, w, 512) by trunk, logits (N, num_classes).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from afnet_jax.models.architecture import STAGES, WIDTHS, Architecture


class Head(nnx.Module):
    """Fully-connected layers, ReLU after all but the last, in float32.

    One stack where one trunk is read: the only one, or the texture trunk that carries the fused features.
    Two stacks for S2 (each to logits of its own; their softmaxes are averaged) and for S3 (their last hidden features
    are concatenated before the layer that makes the logits).

    Args:
        architecture: of the network.
        linear: makes a fully-connected layer, as `nnx.Linear` is called.
    """

    def __init__(self, architecture: Architecture, *, linear: Callable):
        self.fusion = architecture.fusion
        self.reads = architecture.branches[:1] if self.fusion == "layers" else architecture.branches
        widths = (WIDTHS[STAGES[-1]], *architecture.head_widths)
        self.hidden = nnx.Dict({name: _stack(widths, linear) for name in self.reads})
        if self.fusion == "head":
            self.logits = nnx.Dict({"joint": linear(len(self.reads) * widths[-1], architecture.num_classes)})
        else:
            self.logits = nnx.Dict({name: linear(widths[-1], architecture.num_classes) for name in self.reads})

    def __call__(self, features: dict[str, jax.Array]) -> jax.Array:
        hidden = {name: self._hidden_features(name, features[name]) for name in self.reads}
        if self.fusion == "head":
            return self.logits["joint"](jnp.concatenate(list(hidden.values()), axis=-1))
        logits = [self.logits[name](hidden[name]) for name in self.reads]
        return _mean_decision(logits) if self.fusion == "decision" else logits[0]

    def _hidden_features(self, name: str, features: jax.Array) -> jax.Array:
        x = features.mean((1, 2), dtype=jnp.promote_types(features.dtype, jnp.float32))
        for linear in self.hidden[name]:
            x = nnx.relu(linear(x))
        return x


def _mean_decision(logits: list[jax.Array]) -> jax.Array:
    """Logits whose softmax is the mean of the given logits' softmaxes."""
    return jax.nn.logsumexp(jnp.stack([jax.nn.log_softmax(each) for each in logits]), axis=0) - math.log(len(logits))


def _stack(widths: tuple[int, ...], linear: Callable) -> nnx.List:
    return nnx.List([linear(before, after) for before, after in itertools.pairwise(widths)])
