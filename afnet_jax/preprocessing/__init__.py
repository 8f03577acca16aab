"""Scan -> FaceMaps: cleaned, aligned by landmarks that are given or found, rendered from the front."""

from afnet_jax.preprocessing.choice import preprocess
from afnet_jax.preprocessing.face_maps import FaceMaps
from afnet_jax.preprocessing.gridfit import gridfit
from afnet_jax.preprocessing.pipeline import PreprocessingConfig

__all__ = ["FaceMaps", "PreprocessingConfig", "gridfit", "preprocess"]
