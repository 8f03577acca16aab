"""The network from its weights: pure functions of parameters, statistics and maps."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from ml_collections import ConfigDict

from afnet_jax.maps import INPUT_MAPS, Maps
from afnet_jax.models.afnet import AFNet
from afnet_jax.models.architecture import architecture_of
from afnet_jax.models.pretrained import PretrainedTrunk


def this_platform() -> str:
    """Returns the platform of this process's devices by the name that lowering and export know: "cpu", "cuda"."""
    backend = jax.default_backend()
    return "cuda" if backend == "gpu" else backend


class Network:
    """Pure functions of the network that config.model describes.

    Args:
        settings: config.model.
        pretrained: ImageNet weights that the trunks start from, or None.
        platform: where the functions will run, "cpu" or "cuda"; this process's devices by default. What is traced
            depends on it alone, so that any machine can trace, export and compile for any other.

    Attributes:
        platform: as given.
    """

    def __init__(self, settings: ConfigDict, pretrained: PretrainedTrunk | None = None, *, platform: str | None = None):
        self.platform = platform or this_platform()
        self._architecture = architecture_of(settings)
        self._dtype = jnp.dtype(settings.dtype)
        self._precision = None if settings.matmul_precision == "default" else settings.matmul_precision
        self._pretrained = pretrained
        self._graph, *_ = nnx.split(nnx.eval_shape(self._new_model, jax.random.key(0)), nnx.Param, nnx.BatchStat)

    def _new_model(self, key: jax.Array) -> AFNet:
        return AFNet(
            self._architecture,
            rngs=nnx.Rngs(key),
            dtype=self._dtype,
            platform=self.platform,
            precision=self._precision,
        )

    def init(self, key: jax.Array) -> tuple[dict[str, Any], dict[str, Any]]:
        """Returns fresh (params, batch_stats), the trunks' from the pretrained weights where there are any."""
        model = self._new_model(key)
        if self._pretrained is not None:
            self._pretrained.apply(model)
        params, batch_stats = map(nnx.to_pure_dict, nnx.state(model, nnx.Param, nnx.BatchStat))
        return params, batch_stats

    def model(self, params, batch_stats) -> AFNet:
        """Returns the network with these weights, ready to call."""
        shapes = nnx.eval_shape(self._new_model, jax.random.key(0))
        params_state, stats_state = nnx.state(shapes, nnx.Param, nnx.BatchStat)
        nnx.replace_by_pure_dict(params_state, params)
        nnx.replace_by_pure_dict(stats_state, batch_stats)
        return nnx.merge(self._graph, params_state, stats_state, copy=True)

    def probabilities(self, params, batch_stats, maps: Maps) -> jax.Array:
        """(N, 6) probabilities of N scans by the running statistics."""
        return jax.nn.softmax(self.model(params, batch_stats)(maps))


def map_shapes(size: int, *scans: Any) -> Maps:
    """Returns the shapes of (*scans, edge, edge, channels) maps where the images' edge is `size`."""
    shapes = {n: jax.ShapeDtypeStruct((*scans, *each.shape(size)), each.dtype) for n, each in INPUT_MAPS.items()}
    return Maps(**shapes)
