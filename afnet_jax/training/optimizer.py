"""The optimizer: Adam at a fixed rate, as in the paper (section III-B), or with what config.train adds to it."""

from __future__ import annotations

import jax
import optax
from ml_collections import ConfigDict


def optimizer_of(train: ConfigDict, steps: int) -> optax.GradientTransformation:
    """Returns the optimizer that config.train describes.

    Args:
        train: config.train.
        steps: of the whole training.
    """
    rate = _schedule(train, steps)
    if not train.weight_decay and train.trunk_rate == 1:
        return optax.adam(rate, b1=train.beta1, b2=train.beta2)
    rule = optax.adamw(rate, b1=train.beta1, b2=train.beta2, weight_decay=train.weight_decay, mask=_kernels)
    if train.trunk_rate == 1:
        return rule
    return optax.chain(rule, _scaled_trunks(train.trunk_rate))


def resting(before: optax.OptState, after: optax.OptState) -> optax.OptState:
    """The state of a training that rests in a step, while its neighbours take more scans: the rate alone goes on.

    Otherwise a smaller fold's rate would neither rise nor fall as far as the others'.
    """

    def is_rate(node) -> bool:
        return isinstance(node, optax.ScaleByScheduleState)

    return jax.tree.map(lambda old, new: new if is_rate(old) else old, before, after, is_leaf=is_rate)


def _schedule(train: ConfigDict, steps: int) -> optax.ScalarOrSchedule:
    """Rises over the share of steps that is the warm-up, then stays, or falls to 0 along half a cosine."""
    full = train.learning_rate
    warmup = round(train.warmup * steps)
    cosine = train.learning_rate_decay == "cosine"
    if not warmup:
        return optax.cosine_decay_schedule(full, steps) if cosine else full
    after = optax.cosine_decay_schedule(full, max(steps - warmup, 1)) if cosine else optax.constant_schedule(full)
    # The first step is one of the rise, and takes its first part instead of nothing.
    rise = optax.linear_schedule(full / (warmup + 1), full, warmup)
    return optax.join_schedules([rise, after], [warmup])


def _kernels(params):
    """True at the leaves that decay: kernels, and neither biases nor what normalisation scales by."""
    return jax.tree_util.tree_map_with_path(lambda path, _: _name(path[-1]) == "kernel", params)


def _scaled_trunks(rate: float) -> optax.GradientTransformation:
    def update(updates, state, params=None):
        def scaled(path, leaf):
            return leaf * rate if _name(path[0]) == "trunks" else leaf

        return jax.tree_util.tree_map_with_path(scaled, updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def _name(entry) -> str:
    return jax.tree_util.keystr((entry,), simple=True)
