"""One training step and one evaluation, of one training; `devices.py` runs them for many side by side.

Shapes: B scans of a batch, N scans of the data set, S the images' edge.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx, struct
from ml_collections import ConfigDict

from afnet_jax.config import architecture
from afnet_jax.maps import INPUT_MAPS, Faces, InputMap, Maps
from afnet_jax.models.afnet import AFNet


@struct.dataclass
class TrainState:
    """All that a training carries from step to step.

    Attributes:
        params: trainable weights, float32.
        batch_stats: running means and variances of batch normalisation, float32.
        opt_state: of Adam.
    """

    params: Any
    batch_stats: Any
    opt_state: Any


class StepMetrics(NamedTuple):
    """Of one step of one training: mean cross-entropy, correct scans of the batch, norm of the whole gradient."""

    loss: jax.Array
    correct: jax.Array
    gradient_norm: jax.Array


def this_platform() -> str:
    """Platform of this process's devices by the name that lowering and export know it by: "cpu", "cuda"."""
    backend = jax.default_backend()
    return "cuda" if backend == "gpu" else backend


class Trainer:
    """Pure functions of one training, from its config.

    Args:
        config: the run's, see `afnet_jax.config`.
        pretrained: ImageNet weights for the trunks, applied by `afnet_jax.models.pretrained`, or None.
        steps: of the whole training; needed where the learning rate decays.
        platform: where the functions will run, "cpu" or "cuda"; this process's devices by default. What is traced
            depends on it alone, so that any machine can trace, export and compile for any other.

    Attributes:
        platform: as given.
    """

    def __init__(self, config: ConfigDict, pretrained=None, *, steps: int = 1, platform: str | None = None):
        self.platform = platform or this_platform()
        self._architecture = architecture(config)
        self._dtype = jnp.dtype(config.model.dtype)
        self._precision = None if config.model.matmul_precision == "default" else config.model.matmul_precision
        self._train = config.train
        self._pretrained = pretrained
        rate = config.train.learning_rate
        if config.train.learning_rate_decay == "cosine":
            rate = optax.cosine_decay_schedule(rate, steps)
        self._optimizer = optax.adam(rate, b1=config.train.beta1, b2=config.train.beta2)
        self._graph, *_ = nnx.split(nnx.eval_shape(self._new_model, jax.random.key(0)), nnx.Param, nnx.BatchStat)

    def _new_model(self, key: jax.Array) -> AFNet:
        return AFNet(
            self._architecture,
            rngs=nnx.Rngs(key),
            dtype=self._dtype,
            platform=self.platform,
            precision=self._precision,
        )

    def init(self, key: jax.Array) -> TrainState:
        """Fresh weights, the trunks' from ImageNet where the config says so."""
        model = self._new_model(key)
        if self._pretrained is not None:
            self._pretrained.apply(model)
        params, batch_stats = map(nnx.to_pure_dict, nnx.state(model, nnx.Param, nnx.BatchStat))
        return TrainState(params, batch_stats, self._optimizer.init(params))

    def model(self, params, batch_stats) -> AFNet:
        """The network with these weights, ready to call."""
        shapes = nnx.eval_shape(self._new_model, jax.random.key(0))
        params_state, stats_state = nnx.state(shapes, nnx.Param, nnx.BatchStat)
        nnx.replace_by_pure_dict(params_state, params)
        nnx.replace_by_pure_dict(stats_state, batch_stats)
        return nnx.merge(self._graph, params_state, stats_state, copy=True)

    def train_step(
        self, state: TrainState, faces: Faces, indices: jax.Array, key: jax.Array, active: jax.Array | None = None
    ) -> tuple[TrainState, StepMetrics]:
        """One step of Adam on the cross-entropy of a batch (section III-B).

        Args:
            state: before the step.
            faces: the data set.
            indices: (B,) int32, the batch's scans.
            key: of this step's augmentation.
            active: scalar bool; where False the state comes back as it was. None for True.
        """
        batch = jax.tree.map(lambda a: a[indices], faces)
        batch = batch._replace(maps=augment(batch.maps, key, self._train))

        def loss_of(params):
            model = self.model(params, state.batch_stats)
            logits = model(batch.maps, train=True)
            loss = optax.softmax_cross_entropy_with_integer_labels(logits, batch.labels).mean()
            batch_stats = nnx.to_pure_dict(nnx.state(model, nnx.BatchStat))
            return loss, (batch_stats, (logits.argmax(-1) == batch.labels).sum())

        (loss, (batch_stats, correct)), gradients = jax.value_and_grad(loss_of, has_aux=True)(state.params)
        with jax.named_scope("optimizer"):
            updates, opt_state = self._optimizer.update(gradients, state.opt_state)
            params = optax.apply_updates(state.params, updates)
            metrics = StepMetrics(loss, correct, self._norm(gradients))
        new_state = TrainState(params, batch_stats, opt_state)
        if active is not None:
            new_state = jax.tree.map(lambda new, old: jnp.where(active, new, old), new_state, state)
        return new_state, metrics

    def logits(self, state: TrainState, faces: Faces, indices: jax.Array) -> jax.Array:
        """(B, 6) float32 logits of the scans named by indices, by the running statistics."""
        batch = jax.tree.map(lambda a: a[indices], faces)
        model = self.model(state.params, state.batch_stats)
        return model(batch.maps)

    def probabilities(self, params, batch_stats, maps: Maps) -> jax.Array:
        """(N, 6) probabilities of N scans by the running statistics."""
        return jax.nn.softmax(self.model(params, batch_stats)(maps))

    def _norm(self, tree) -> jax.Array:
        """Euclidean norm over all leaves."""
        if self.platform == "cpu":  # where a sum of squares takes several times as long as an inner product
            squares = [jnp.vdot(leaf, leaf) for leaf in jax.tree.leaves(tree)]
        else:
            squares = [jnp.square(leaf).sum() for leaf in jax.tree.leaves(tree)]
        return jnp.sqrt(sum(squares))


def augment(maps: Maps, key: jax.Array, train: ConfigDict) -> Maps:
    """Returns the maps of a batch changed at random as config.train says; unchanged, at no cost, with all of it off.

    All maps of a scan are mirrored and shifted together, by whole pixels of the image and so by fractions of a mask's;
    what a shift brings in is outside the face. Colour changes leave what lies outside black.
    """
    flip_key, shift_key, colour_key = jax.random.split(key, 3)
    count = maps.texture.shape[0]
    if train.flip:
        mirrored = jax.random.bernoulli(flip_key, shape=(count, 1, 1, 1))
        maps = jax.tree.map(lambda m: jnp.where(mirrored, m[:, :, ::-1], m), maps)
    if train.max_shift:
        shifts = jax.random.randint(shift_key, (count, 2), -train.max_shift, train.max_shift + 1)
        maps = Maps(**{name: _shift(getattr(maps, name), shifts, each) for name, each in INPUT_MAPS.items()})
    if train.colour_jitter:
        gain, offset = jax.random.uniform(
            colour_key, (2, count, 1, 1, 1), minval=-train.colour_jitter, maxval=train.colour_jitter
        )
        wide = maps.texture.astype(jnp.float32)
        changed = jnp.clip(wide * (1 + gain) + 255 * offset, 0, 255).astype(jnp.uint8)
        inside = ~jnp.isnan(maps.depth)
        maps = maps._replace(texture=jnp.where(inside, changed, maps.texture))
    return maps


def _shift(maps: jax.Array, shifts: jax.Array, each: InputMap) -> jax.Array:
    """Moves (B, H, W, C) maps by (B, 2) pixels of the image down and right."""
    return _shift_image(maps, shifts, each.outside) if each.scale == 1 else _shift_mask(maps, shifts * each.scale)


def _shift_image(images: jax.Array, shifts: jax.Array, fill: float) -> jax.Array:
    """(B, H, W, C) images moved by (B, 2) whole pixels down and right; `fill` comes in."""

    def one(image, shift):
        rows = jnp.arange(image.shape[0]) - shift[0]
        cols = jnp.arange(image.shape[1]) - shift[1]
        seen = ((rows >= 0) & (rows < image.shape[0]))[:, None] & ((cols >= 0) & (cols < image.shape[1]))[None]
        moved = image[jnp.clip(rows, 0, image.shape[0] - 1)][:, jnp.clip(cols, 0, image.shape[1] - 1)]
        return jnp.where(seen[..., None], moved, jnp.asarray(fill, image.dtype))

    return jax.vmap(one)(images, shifts)


def _shift_mask(masks: jax.Array, shifts: jax.Array) -> jax.Array:
    """(B, H, W, 1) masks moved by (B, 2) pixels and fractions of pixels down and right; 0 comes in.

    Linear interpolation: where a mask is the mean over each pixel's area, it is what the moved area's mean would be if
    the mask were constant within its pixels.
    """

    def weights(shifts, size):
        # (B, to, from): the share of each old pixel in each new one.
        to, source = jnp.arange(size)[:, None], jnp.arange(size)
        return jnp.maximum(0, 1 - jnp.abs(to - source - shifts[:, None, None]))

    rows, cols = weights(shifts[:, 0], masks.shape[1]), weights(shifts[:, 1], masks.shape[2])
    # In full float32, where a GPU would otherwise round the shares.
    moved = jnp.einsum("bij,bjkc,blk->bilc", rows, masks.astype(jnp.float32), cols, precision=jax.lax.Precision.HIGHEST)
    return moved.astype(masks.dtype)
