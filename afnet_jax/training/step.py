"""One training step and one evaluation, of one training; `devices.py` runs them for many side by side.

Shapes: B scans of a batch, N scans of the data set, S the images' edge.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx, struct
from ml_collections import ConfigDict

from afnet_jax.maps import Clouds, Faces, Maps
from afnet_jax.models.network import Network
from afnet_jax.models.pretrained import PretrainedTrunk
from afnet_jax.models.starting_weights import StartingWeights
from afnet_jax.points import render
from afnet_jax.points.augmentation import render_augmented
from afnet_jax.training.augmentation import augment
from afnet_jax.training.optimizer import optimizer_of, resting


@struct.dataclass
class TrainState:
    """State of a training between steps.

    Attributes:
        params: trainable weights, float32.
        batch_stats: running means and variances of batch normalisation, float32.
        opt_state: of Adam.
        average: mean of both over the steps, as a dict; None where config.train.averaging is 0.
    """

    params: Any
    batch_stats: Any
    opt_state: Any
    average: Any = None

    @property
    def tested(self) -> dict[str, Any]:
        """The params and batch_stats that are tested and kept."""
        if self.average is None:
            return {"params": self.params, "batch_stats": self.batch_stats}
        return self.average


class StepMetrics(NamedTuple):
    """Metrics of one step of one training: mean cross-entropy, correct scans, norm of the whole gradient."""

    loss: jax.Array
    correct: jax.Array
    gradient_norm: jax.Array


class Trainer:
    """Pure functions of one training, from its config.

    Args:
        config: the run's, see `afnet_jax.config`.
        start: weights that it starts from, or None.
        steps: of the whole training; needed where the learning rate decays.
        platform: where the functions will run, see `Network`.

    Attributes:
        network: what is trained.
        platform: as given.
    """

    def __init__(
        self,
        config: ConfigDict,
        start: PretrainedTrunk | StartingWeights | None = None,
        *,
        steps: int = 1,
        platform: str | None = None,
    ):
        self.network = Network(config.model, start, platform=platform)
        self.platform = self.network.platform
        self._train = config.train
        self._view = config.dataset.image_size, tuple(config.model.modalities)
        self._optimizer = optimizer_of(config.train, steps)

    def init(self, key: jax.Array) -> TrainState:
        """Returns the state before the first step."""
        params, batch_stats = self.network.init(key)
        state = TrainState(params, batch_stats, self._optimizer.init(params))
        return dataclasses.replace(state, average=state.tested) if self._train.averaging else state

    def train_step(
        self, state: TrainState, faces: Faces, indices: jax.Array, key: jax.Array, active: jax.Array | None = None
    ) -> tuple[TrainState, StepMetrics]:
        """One step of Adam on the cross-entropy of a batch (section III-B).

        Args:
            state: before the step.
            faces: the data set.
            indices: (B,) int32, the batch's scans.
            key: of this step's augmentation.
            active: scalar bool; where False the state comes back as it was, but for the rate's schedule. None for True.
        """
        batch = jax.tree.map(lambda a: a[indices], faces)
        maps = batch.maps
        if isinstance(maps, Clouds):
            cloud_key, key = jax.random.split(key)
            keys = jax.vmap(jax.random.fold_in, (None, 0))(cloud_key, indices)
            maps = render_augmented(maps, keys, *self._view, self._train.augment)
        maps = augment(maps, key, self._train)

        def loss_of(params):
            model = self.network.model(params, state.batch_stats)
            logits = model(maps, train=True)
            loss = self._cross_entropy(logits, batch.labels)
            batch_stats = nnx.to_pure_dict(nnx.state(model, nnx.BatchStat))
            return loss, (batch_stats, (logits.argmax(-1) == batch.labels).sum())

        (loss, (batch_stats, correct)), gradients = jax.value_and_grad(loss_of, has_aux=True)(state.params)
        with jax.named_scope("optimizer"):
            updates, opt_state = self._optimizer.update(gradients, state.opt_state, state.params)
            params = optax.apply_updates(state.params, updates)
            metrics = StepMetrics(loss, correct, self._norm(gradients))
            average = self._averaged(state, params, batch_stats)
            new_state = TrainState(params, batch_stats, opt_state, average)
        if active is not None:
            rested = dataclasses.replace(state, opt_state=resting(state.opt_state, opt_state))
            new_state = jax.tree.map(lambda new, old: jnp.where(active, new, old), new_state, rested)
        return new_state, metrics

    def logits(self, state: TrainState, faces: Faces, indices: jax.Array) -> jax.Array:
        """(B, 6) float32 logits of the scans named by indices, by the running statistics."""
        maps = self._rendered(jax.tree.map(lambda a: a[indices], faces.maps))
        return self.network.logits(**state.tested, maps=maps)

    def _cross_entropy(self, logits: jax.Array, labels: jax.Array) -> jax.Array:
        if not self._train.label_smoothing:
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
        targets = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[-1]), self._train.label_smoothing)
        return optax.softmax_cross_entropy(logits, targets).mean()

    def _averaged(self, state: TrainState, params, batch_stats):
        """Returns the mean over the steps, which forgets the first ones sooner than config.train.averaging says.

        Otherwise the variance of 1 that normalisation starts from would outweigh, for hundreds of steps, the small
        ones of the shortcuts: 0.02 stood for 0.002 after 144 steps at a decay of 0.97.
        """
        if state.average is None:
            return None
        (_, done), *_ = optax.tree_utils.tree_get_all_with_path(state.opt_state, "count")
        kept = jnp.minimum(self._train.averaging, (1 + done) / (10 + done))
        new = {"params": params, "batch_stats": batch_stats}
        return jax.tree.map(lambda mean, leaf: kept * mean + (1 - kept) * leaf, state.average, new)

    def _rendered(self, maps: Maps | Clouds) -> Maps:
        return render(maps, *self._view) if isinstance(maps, Clouds) else maps

    def _norm(self, tree) -> jax.Array:
        """Euclidean norm over all leaves."""
        if self.platform == "cpu":  # where a sum of squares takes several times as long as an inner product
            squares = [jnp.vdot(leaf, leaf) for leaf in jax.tree.leaves(tree)]
        else:
            squares = [jnp.square(leaf).sum() for leaf in jax.tree.leaves(tree)]
        return jnp.sqrt(sum(squares))
