"""The network from its weights: pure functions of parameters, statistics and maps."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from ml_collections import ConfigDict

from afnet_jax.maps import Maps, maps_of
from afnet_jax.models.afnet import AFNet
from afnet_jax.models.architecture import architecture_of
from afnet_jax.models.inputs import mirrored
from afnet_jax.models.pretrained import PretrainedTrunk
from afnet_jax.models.starting_weights import StartingWeights


def this_platform() -> str:
    """Returns the platform of this process's devices by the name that lowering and export know: "cpu", "cuda"."""
    backend = jax.default_backend()
    return "cuda" if backend == "gpu" else backend


class Network:
    """Pure functions of the network that config.model describes.

    Args:
        settings: config.model.
        start: weights that it starts from, ImageNet's for the trunks or those of another network; or None.
        platform: where the functions will run, "cpu" or "cuda"; this process's devices by default. What is traced
            depends on it alone, so that any machine can trace, export and compile for any other.

    Attributes:
        platform: as given.
    """

    def __init__(
        self,
        settings: ConfigDict,
        start: PretrainedTrunk | StartingWeights | None = None,
        *,
        platform: str | None = None,
    ):
        self.platform = platform or this_platform()
        self._architecture = architecture_of(settings)
        self._maps = maps_of(self._architecture.modalities)
        self._dtype = jnp.dtype(settings.dtype)
        self._precision = None if settings.matmul_precision == "default" else settings.matmul_precision
        self._start = start
        self._mirror = settings.mirror
        shapes = nnx.eval_shape(self._new_model, jax.random.key(0))
        self._graph, *self._states = nnx.split(shapes, nnx.Param, nnx.BatchStat)

    def _new_model(self, key: jax.Array) -> AFNet:
        return AFNet(
            self._architecture,
            rngs=nnx.Rngs(key),
            dtype=self._dtype,
            platform=self.platform,
            precision=self._precision,
        )

    def init(self, key: jax.Array) -> tuple[dict[str, Any], dict[str, Any]]:
        """Returns fresh (params, batch_stats), from the starting weights where there are any."""
        model = self._new_model(key)
        if self._start is not None:
            self._start.apply(model)
        params, batch_stats = map(nnx.to_pure_dict, nnx.state(model, nnx.Param, nnx.BatchStat))
        return params, batch_stats

    def model(self, params, batch_stats) -> AFNet:
        """Returns the network with these weights, ready to call."""
        states = [jax.tree.map(lambda shape: shape, of_kind) for of_kind in self._states]  # copies, to be filled
        for state, values in zip(states, (params, batch_stats), strict=True):
            nnx.replace_by_pure_dict(state, values)
        return nnx.merge(self._graph, *states, copy=True)

    def logits(self, params, batch_stats, maps: Maps) -> jax.Array:
        """(N, 6) logits of N scans by the running statistics, those of config.model.mirror of both sides alike."""
        model = self.model(params, batch_stats)
        if not self._mirror:
            return model(maps)
        return (model(maps) + model(mirrored(maps))) / 2

    def probabilities(self, params, batch_stats, maps: Maps) -> jax.Array:
        """(N, 6) probabilities of N scans by the running statistics."""
        return jax.nn.softmax(self.logits(params, batch_stats, maps))

    def map_shapes(self, size: int, *scans: Any) -> Maps:
        """Returns the shapes of the (*scans, edge, edge, channels) maps it takes where the images' edge is `size`."""
        shapes = {n: jax.ShapeDtypeStruct((*scans, *each.shape(size)), each.dtype) for n, each in self._maps.items()}
        return Maps(**shapes)
