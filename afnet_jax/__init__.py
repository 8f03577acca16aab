"""AFNet-M: 2D+3D facial expression recognition by adaptive fusion with masks, in JAX and Flax."""

__version__ = "0.1.0"
