"""From a finished run to numbers, tables and answers about a face."""

from afnet_jax.analysis.prediction import Prediction, Predictor
from afnet_jax.analysis.run import Run, load_run

__all__ = ["Prediction", "Predictor", "Run", "load_run"]
