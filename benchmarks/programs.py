"""Every program that the project compiles, with the shapes of its arguments: what there is to trace, lower and compile.

Nothing is computed and no device is asked for, so any machine can look at the programs of any platform.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from afnet_jax.analysis import export, gradcam, prediction
from afnet_jax.config import default_config
from afnet_jax.maps import Faces
from afnet_jax.points.clouds import cloud_shapes
from afnet_jax.training.devices import train_steps
from afnet_jax.training.step import Trainer, TrainState

# Every kind of change that config.train.augment knows.
AUGMENTED = {
    "yaw": 20.0,
    "pitch": 15.0,
    "roll": 10.0,
    "shift_mm": 4.0,
    "scale": 0.05,
    "noise_mm": 0.4,
    "holes": 3,
    "landmarks_mm": 2.0,
    "light": 0.3,
    "colour": 0.2,
}
_SCANS = 720  # of the data set: 60 subjects, 6 expressions, 2 levels


@dataclasses.dataclass(frozen=True)
class Shape:
    """What makes one program of a name differ from another.

    Attributes:
        platform: where it is to run, "cpu" or "cuda".
        folds: trainings or networks of a call; "predict" takes one network whatever is said here.
        image_size: edge of the images, pixels.
        dtype: config.model.dtype.
        batch: scans of a batch in training and evaluation; the other programs have numbers of their own.
        steps: of a call of the training program; 20 are an epoch of the paper's protocol (648 scans).
        variant: of the network.
        precision: config.model.matmul_precision.
        source: config.dataset.input; of points training changes them by all that config.train.augment knows.
    """

    platform: str
    folds: int = 1
    image_size: int = 224
    dtype: str = "bfloat16"
    batch: int = 32
    steps: int = 20
    variant: str = "afnet"
    precision: str = "default"
    source: str = "maps"

    @property
    def config(self) -> ConfigDict:
        config = default_config(self.variant)
        with config.unlocked():
            config.model.dtype, config.model.matmul_precision = self.dtype, self.precision
            config.dataset.image_size, config.dataset.input = self.image_size, self.source
            if self.source == "points":
                config.train.augment.update(AUGMENTED)
        return config


class Program(NamedTuple):
    """A jitted function, and arguments for it that are shapes alone."""

    function: Callable
    arguments: tuple


def make_program(name: str, shape: Shape) -> Program:
    """One of PROGRAMS, as the project itself makes it."""
    if name == "train_points":
        shape = dataclasses.replace(shape, source="points")
    return PROGRAMS[name](shape, Trainer(shape.config, platform=shape.platform))


def _train(shape: Shape, trainer: Trainer) -> Program:
    batches = _array("int32", shape.steps, shape.folds, shape.batch)
    arguments = (_state(shape, trainer), _faces(shape, trainer), _keys(shape), _array("int32"), batches, None)
    return Program(jax.jit(functools.partial(train_steps, trainer), donate_argnums=0), arguments)


def _evaluate(shape: Shape, trainer: Trainer) -> Program:
    arguments = (_state(shape, trainer), _faces(shape, trainer), _array("int32", shape.folds, shape.batch))
    return Program(jax.jit(jax.vmap(trainer.logits, (0, None, 0))), arguments)


def _predict(shape: Shape, trainer: Trainer) -> Program:
    weights = jax.eval_shape(trainer.network.init, jax.random.key(0))
    maps = trainer.network.map_shapes(shape.image_size, prediction.BATCH)
    return Program(jax.jit(trainer.network.probabilities), (*weights, maps))


def _gradcam(shape: Shape, trainer: Trainer) -> Program:
    state, scans = _state(shape, trainer), (shape.folds, gradcam.BATCH)
    maps = trainer.network.map_shapes(shape.image_size, *scans)
    arguments = (state.params, state.batch_stats, maps, _array("int32", *scans))
    return Program(gradcam.explainer(trainer.network), arguments)


def _export(shape: Shape, trainer: Trainer) -> Program:
    state = _state(shape, trainer)
    weights = export.flatten(state.params, state.batch_stats)
    inputs = export.input_shapes(shape.config, trainer.network, prediction.BATCH)
    return Program(jax.jit(export.probabilities(shape.config)), (weights, *inputs))


PROGRAMS: dict[str, Callable[[Shape, Trainer], Program]] = {
    "train": _train,
    "train_points": _train,
    "evaluate": _evaluate,
    "predict": _predict,
    "gradcam": _gradcam,
    "export": _export,
}


def _state(shape: Shape, trainer: Trainer) -> TrainState:
    return jax.eval_shape(jax.vmap(trainer.init), _keys(shape))


def _keys(shape: Shape):
    return jax.eval_shape(lambda: jax.random.split(jax.random.key(0), shape.folds))


def _array(dtype: str, *shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.dtype(dtype))


def _faces(shape: Shape, trainer: Trainer) -> Faces:
    maps = trainer.network.map_shapes(shape.image_size, _SCANS)
    return Faces(cloud_shapes(_SCANS) if shape.source == "points" else maps, _array("int32", _SCANS))
