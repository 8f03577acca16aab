"""One training's functions, run for a group of trainings at once, on every device of this process.

The trainings of a call lie on axis 0 of everything and are parted over the mesh axis `folds`; each device runs its
share vmapped, and nothing is exchanged between them. A GPU takes a whole group in a call; a CPU, which gains nothing
from several at once, one training after the other, step by step. Processes of `jax.distributed` share the trainings.
"""

from __future__ import annotations

import functools
import math
import operator
import time
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import serialization
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from afnet_jax.maps import Faces
from afnet_jax.runs.checkpoints import WEIGHTS
from afnet_jax.training.feeding import Read, Resident, Streamed
from afnet_jax.training.plan import Training
from afnet_jax.training.progress import say
from afnet_jax.training.step import StepMetrics, Trainer, TrainState

_WHAT = {"train": "training", "evaluate": "evaluation"}
_EACH, _SHARED, _STEPS_OF_EACH = P("folds"), P(), P(None, "folds")


class GroupProgram:
    """The compiled programs that train and evaluate groups of one size.

    G trainings of a group, C of a call, B scans of a batch, K steps of a call, N scans of the data set.

    Args:
        trainer: functions of one training.
        faces: the whole data set; put on every device once, unless it is streamed.
        seed: of weights and augmentation.
        folds_per_call: C, a multiple of a mesh's devices; "auto" for one on a CPU and for the whole group elsewhere, as
            measured (docs/performance.md).
        meshes: devices of each call; by default all of this process together, but each alone on a CPU.
        streamed: whether each call is given its own scans, for a data set that does not fit the devices.

    Attributes:
        meshes: devices of this process along the axis `folds`; calls take one mesh after the other.
        platform: where the programs run, "cpu" or "cuda"; the trainer's.
        compile_seconds: spent on compiling so far.
        data: brings the scans to the devices.
    """

    def __init__(
        self,
        trainer: Trainer,
        faces: Faces,
        *,
        seed: int,
        folds_per_call: str = "auto",
        meshes: Sequence[Mesh] | None = None,
        streamed: bool = False,
    ):
        self.meshes = _meshes() if meshes is None else tuple(meshes)
        self.platform = trainer.platform
        self._per_call = _folds_per_call(folds_per_call, self.meshes[0].size, self.platform)
        self.compile_seconds = 0.0
        self._taken = 0.0
        self._trainer = trainer
        self._seed = seed
        self.data = (Streamed if streamed else Resident)(faces, self.meshes)
        self._init = jax.jit(trainer.init)
        self._jitted = [
            {
                "train": jax.jit(
                    _parted(
                        mesh,
                        functools.partial(train_steps, trainer),
                        (_EACH, self.data.spec, _EACH, _SHARED, _STEPS_OF_EACH, _STEPS_OF_EACH),
                        (_EACH, _STEPS_OF_EACH),
                    ),
                    donate_argnums=0,
                ),
                "evaluate": jax.jit(
                    _parted(mesh, jax.vmap(trainer.logits, (0, None, 0)), (_EACH, self.data.spec, _EACH), _EACH)
                ),
            }
            for mesh in self.meshes
        ]
        self._compiled: dict = {}

    def places(self, trainings: int, group_size: int) -> int:
        """Trainings to fill a group up to, so that every call has the same shapes.

        Args:
            trainings: of the group.
            group_size: of the run's largest group.
        """
        per_call = min(self._per_call or group_size, group_size)  # no more than there are, for nothing
        return per_call * math.ceil(trainings / per_call)

    def init(self, group: Sequence[Training]) -> list[TrainState]:
        """Fresh states of G trainings, those of a call together; each is a function of (seed, round, fold) alone."""
        # Put together on the host: the first of several devices need not hold what falls to the others.
        states = [jax.device_get(self._init(jax.random.split(key)[0])) for key in self._keys(group)]
        return [
            self._place(jax.tree.map(lambda *leaves: np.stack(leaves), *states[of_call]), number)
            for number, of_call in enumerate(self._calls(len(group)))
        ]

    def train(
        self,
        state: list[TrainState],
        group: Sequence[Training],
        first_step: int,
        indices: np.ndarray,
        active: np.ndarray,
        feed: Iterator[tuple[Faces, jax.Array]] | None = None,
    ) -> tuple[list[TrainState], StepMetrics]:
        """K steps of each training. The state given is used up.

        Args:
            state: of the G trainings.
            group: which they are.
            first_step: steps each has behind it.
            indices: (K, G, B) scans of each batch.
            active: (K, G) False where a training rests.
            feed: see `feed`; by default of these indices alone.

        Returns:
            The state after them, and metrics of (K, G) NumPy arrays.
        """
        keys = jnp.stack([jax.random.split(key)[1] for key in self._keys(group)])
        calls = self._calls(len(group))
        chunks = self._chunks(len(indices))
        feed = self.feed(indices, len(indices)) if feed is None else feed
        after: list[TrainState] = []
        metrics = []
        for first in range(0, len(calls), len(self.meshes)):  # as many calls as meshes at once, and no more
            parts = state[first : first + len(self.meshes)]
            seen: list[list[StepMetrics]] = [[] for _ in parts]
            for chunk in chunks:
                for number, of_call in enumerate(calls[first : first + len(parts)]):
                    faces, batches = next(feed)
                    resting = None if active[chunk, of_call].all() else jnp.asarray(active[chunk, of_call])
                    inputs = (keys[of_call], jnp.int32(first_step + (chunk.start or 0)))
                    parts[number], numbers = self._call(
                        "train", number, parts[number], faces, *inputs, batches, resting
                    )
                    seen[number].append(numbers)
            after += parts
            metrics += [jax.tree.map(lambda *leaves: np.concatenate(leaves), *of_part) for of_part in seen]
        return after, jax.tree.map(lambda *leaves: np.concatenate(leaves, axis=1), *metrics)

    def feed(self, indices: np.ndarray, stride: int) -> Iterator[tuple[Faces, jax.Array]]:
        """Returns what the calls of `train` take, in their order; read ahead where the data set is streamed.

        Args:
            indices: (K, G, B) scans of each batch of an epoch, or of the rest of one.
            stride: steps that `train` is given at a time.
        """
        reads = []
        calls = list(enumerate(self._calls(indices.shape[1])))
        for given in (indices[start : start + stride] for start in range(0, len(indices), stride)):
            for first in range(0, len(calls), len(self.meshes)):
                for chunk in self._chunks(len(given)):
                    for number, of_call in calls[first : first + len(self.meshes)]:
                        reads.append(self._read(number, given[chunk, of_call]))
        return self.data.feed(reads)

    def evaluate(self, state: list[TrainState], batches: np.ndarray) -> np.ndarray:
        """(batches, G, B) scans -> (G, batches * B, 6) float32 logits."""
        calls = list(enumerate(self._calls(batches.shape[1])))
        feed = self.data.feed([self._read(number, batch[of_call]) for number, of_call in calls for batch in batches])
        logits = [
            [np.asarray(self._call("evaluate", number, state[number], *next(feed))) for _ in batches]
            for number, _ in calls
        ]
        return np.concatenate([np.concatenate(of_call, axis=1) for of_call in logits])

    def take_compile_seconds(self) -> float:
        """Returns the seconds of compiling since the last call."""
        taken, self._taken = self.compile_seconds - self._taken, self.compile_seconds
        return taken

    def to_arrays(self, state: list[TrainState], *, weights_alone: bool = False) -> dict:
        """The state of all G trainings as nested dicts of NumPy arrays, or its weights alone; a copy."""
        parts = [TrainState(**part.tested, opt_state=None) if weights_alone else part for part in state]
        together = jax.tree.map(self._on_host, *parts)
        arrays = serialization.to_state_dict(together)
        return {name: arrays[name] for name in (WEIGHTS if weights_alone else arrays) if arrays[name] is not None}

    def from_arrays(self, arrays: dict) -> list[TrainState]:
        """The reverse; what the arrays lack (a finished training has no optimizer state) stays empty."""
        empty = TrainState(params=None, batch_stats=None, opt_state=None)
        if "opt_state" in arrays:
            empty = jax.eval_shape(self._trainer.init, jax.random.key(0))
        state = serialization.from_state_dict(empty, {"opt_state": None, "average": None, **arrays})
        count = len(jax.tree.leaves(state)[0])
        return [
            self._place(jax.tree.map(operator.itemgetter(of_call), state), number)
            for number, of_call in enumerate(self._calls(count))
        ]

    def _on_host(self, *leaves: jax.Array) -> np.ndarray:
        if len(leaves) > 1:
            return np.concatenate([np.asarray(leaf) for leaf in leaves])
        # Of a CPU's array NumPy sees the very memory that the next step is given.
        return np.array(leaves[0]) if self.platform == "cpu" else np.asarray(leaves[0])

    def _calls(self, count: int) -> list[slice]:
        """Returns the slices of a group's trainings, one for each call."""
        per_call = self._per_call or count
        return [slice(first, first + per_call) for first in range(0, count, per_call)]

    def _chunks(self, steps: int) -> list[slice]:
        """Returns the steps of each call."""
        # XLA's convolutions within a loop are 40 to 80 times slower on a CPU, and a loop's bits would be others.
        return [slice(k, k + 1) for k in range(steps)] if self.platform == "cpu" else [slice(None)]

    def _read(self, call: int, indices: np.ndarray) -> Read:
        return Read(call % len(self.meshes), indices)

    def _keys(self, group: Sequence[Training]) -> list[jax.Array]:
        seed = jax.random.key(self._seed)
        return [jax.random.fold_in(jax.random.fold_in(seed, t.round), t.fold) for t in group]

    def _place(self, tree, call: int):
        return jax.device_put(tree, NamedSharding(self.meshes[call % len(self.meshes)], _EACH))

    def _call(self, name: str, call: int, part: TrainState, faces: Faces, *args):
        """Runs a program for a part of the group, compiling it first where these shapes are new.

        The clock of compiling runs apart.
        """
        mesh = call % len(self.meshes)
        # What goes on from finished weights brings no optimizer's state.
        shapes = (name, mesh, jax.tree.structure(part), *((leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(args)))
        if shapes not in self._compiled:
            say(f"compiling the {_WHAT[name]} program …")
            start = time.monotonic()
            self._compiled[shapes] = self._jitted[mesh][name].lower(part, faces, *args).compile()
            self.compile_seconds += time.monotonic() - start
        return self._compiled[shapes](part, faces, *args)


def _meshes() -> tuple[Mesh, ...]:
    """This process's devices: together, but each alone on a CPU, where one program's bits then serve any number."""
    local = jax.local_devices()
    alone = local[0].platform == "cpu"
    return tuple(Mesh(np.array(devices), ("folds",)) for devices in ([[d] for d in local] if alone else [local]))


def _parted(mesh: Mesh, function, in_specs, out_specs):
    if mesh.size == 1:
        return function
    return jax.shard_map(function, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False)


def train_steps(trainer: Trainer, state: TrainState, faces: Faces, keys, first_step, indices, active):
    """K steps of each of C trainings, the program that `GroupProgram` compiles.

    Args:
        trainer: functions of one training.
        state: of the C trainings, stacked.
        faces: the whole data set.
        keys: (C,) of each training's augmentation.
        first_step: steps each has behind it.
        indices: (K, C, B) scans of each batch.
        active: (K, C) False where a training rests; None where none does.

    Returns:
        The state after them, and metrics of (K, C) arrays.
    """
    step = jax.vmap(trainer.train_step, (0, None, 0, 0, 0))

    def one(carry, inputs):
        state, number = carry
        batch, is_active = inputs
        step_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, number)
        state, metrics = step(state, faces, batch, step_keys, is_active)
        return (state, number + 1), metrics

    if indices.shape[0] > 1:
        (state, _), metrics = jax.lax.scan(one, (state, first_step), (indices, active))
        return state, metrics
    # Not a loop of one: convolutions inside a loop are 40 to 80 times slower on a CPU.
    (state, _), metrics = one((state, first_step), jax.tree.map(lambda a: a[0], (indices, active)))
    return state, jax.tree.map(lambda leaf: leaf[None], metrics)


def _folds_per_call(setting: str, devices: int, platform: str) -> int | None:
    """Trainings of a call, a multiple of the devices; None for the whole group."""
    if setting == "auto":
        return devices if platform == "cpu" else None
    return devices * math.ceil(int(setting) / devices)


def steps_per_dispatch(setting: str, steps: int, platform: str, most: int | None = None) -> int:
    """Steps of one call of the compiled program: a divisor of an epoch's steps, so that one program serves all.

    Args:
        setting: config.train.steps_per_dispatch.
        steps: of an epoch.
        platform: where the program runs.
        most: steps of a call by "auto"; None for all of an epoch.
    """
    wanted = (1 if platform == "cpu" else most or steps) if setting == "auto" else int(setting)
    return max(k for k in range(1, min(wanted, steps) + 1) if steps % k == 0)
