"""Scan -> FaceMaps: cleaned, aligned, rendered from the front."""

from afnet_jax.preprocessing.face_maps import FaceMaps
from afnet_jax.preprocessing.gridfit import gridfit
from afnet_jax.preprocessing.pipeline import PreprocessingConfig, preprocess

__all__ = ["FaceMaps", "PreprocessingConfig", "gridfit", "preprocess"]
