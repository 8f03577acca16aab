"""What config.train adds to Adam: a rate that rises and falls, decay of kernels, slower trunks, mean weights."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from afnet_jax.training.optimizer import optimizer_of, resting
from tests.support.small_training import make_config

PARAMS = {
    "trunks": {"texture": {"conv1": {"kernel": jnp.ones((2, 3))}, "bn1": {"scale": jnp.ones(3)}}},
    "head": {"kernel": jnp.full((3, 2), 2.0), "bias": jnp.ones(2)},
}
GRADIENTS = jax.tree.map(lambda leaf: 0.1 * leaf, PARAMS)


def _steps(count: int, steps: int, **settings) -> list:
    """Updates of each step with the same gradients."""
    train = make_config(**{f"train.{name}": value for name, value in settings.items()}).train
    rule = optimizer_of(train, steps)
    state, updates = rule.init(PARAMS), []
    for _ in range(count):
        update, state = rule.update(GRADIENTS, state, PARAMS)
        updates.append(update)
    return updates


def test_the_default_is_adam_of_the_paper():
    rule = optax.adam(1e-4)
    state = rule.init(PARAMS)
    assert jax.tree.structure(state) == jax.tree.structure(optimizer_of(make_config().train, 9).init(PARAMS))
    for ours in _steps(3, 9):
        theirs, state = rule.update(GRADIENTS, state)
        jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def test_a_rate_rises_to_its_height_and_falls_to_nothing():
    """Adam's update of constant gradients is the rate itself."""
    rates = [-float(u["head"]["bias"][0]) for u in _steps(20, 20, learning_rate=1e-2, learning_rate_decay="cosine",
                                                          warmup=0.2)]  # fmt: skip
    np.testing.assert_allclose(rates[:5], 1e-2 * np.array([0.2, 0.4, 0.6, 0.8, 1.0]), rtol=1e-4)
    expected = 0.5e-2 * (1 + np.cos(np.pi * np.arange(16) / 16))
    np.testing.assert_allclose(rates[4:], expected, rtol=1e-4, atol=1e-9)


def test_without_a_fall_it_stays():
    rates = [-float(u["head"]["bias"][0]) for u in _steps(8, 8, learning_rate=1e-2, warmup=0.25)]
    np.testing.assert_allclose(rates, 1e-2 * np.array([1 / 3, 2 / 3, 1, 1, 1, 1, 1, 1]), rtol=1e-4)


def test_kernels_decay_and_nothing_else():
    (plain,), (decayed,) = _steps(1, 1, learning_rate=1e-2), _steps(1, 1, learning_rate=1e-2, weight_decay=0.1)
    difference = jax.tree.map(lambda one, other: other - one, plain, decayed)
    np.testing.assert_allclose(difference["head"]["kernel"], -1e-2 * 0.1 * 2.0, rtol=1e-4)
    np.testing.assert_allclose(difference["trunks"]["texture"]["conv1"]["kernel"], -1e-2 * 0.1, rtol=1e-4)
    for leaf in (difference["head"]["bias"], difference["trunks"]["texture"]["bn1"]["scale"]):
        np.testing.assert_allclose(leaf, 0, atol=1e-9)


@pytest.mark.parametrize("rate", [0.0, 0.25])
def test_trunks_learn_slower(rate):
    (plain,), (slower,) = _steps(1, 1, weight_decay=0.1), _steps(1, 1, weight_decay=0.1, trunk_rate=rate)
    jax.tree.map(np.testing.assert_array_equal, slower["head"], plain["head"])
    jax.tree.map(lambda one, all_: np.testing.assert_allclose(one, rate * all_), slower["trunks"], plain["trunks"])


def test_a_training_that_rests_keeps_all_but_its_place_in_the_schedule():
    """Of folds of 3 and 4 batches an epoch, the smaller rests in every fourth step; both end at the same rate."""
    rule = optimizer_of(make_config(**{"train.learning_rate": 1e-2, "train.learning_rate_decay": "cosine"}).train, 40)
    smaller = larger = rule.init(PARAMS)
    for step in range(40):
        update, larger = rule.update(GRADIENTS, larger, PARAMS)
        own, moved = rule.update(GRADIENTS, smaller, PARAMS)
        smaller = resting(smaller, moved) if step % 4 == 3 else moved
    np.testing.assert_allclose(own["head"]["bias"], update["head"]["bias"], rtol=1e-4)
    counts = sorted(int(count) for _, count in optax.tree_utils.tree_get_all_with_path(smaller, "count"))
    assert counts == [30, 40]
