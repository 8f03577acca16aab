"""Landmarks of faces that come without: found from the surface alone by two small networks, coarse then fine."""

from afnet_jax.landmarks.detector import find_landmarks

__all__ = ["find_landmarks"]
