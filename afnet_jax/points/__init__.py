"""Raw points -> maps, inside a compiled program."""

from afnet_jax.points.rendering import render

__all__ = ["render"]
