"""What is tested: means of weights over the steps, and of a face and its mirror image; what is learned from."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from afnet_jax.models.inputs import mirrored
from afnet_jax.models.network import Network
from afnet_jax.training.step import Trainer
from tests.support.small_training import make_config, make_faces


@pytest.fixture(scope="module")
def faces():
    return jax.tree.map(jnp.asarray, make_faces().faces)


@pytest.mark.slow
def test_the_mean_of_the_weights_follows_them_and_is_what_is_tested(faces):
    """The decay of step n, from 0, is the least of config.train.averaging and (1 + n) / (10 + n)."""
    trainer = Trainer(make_config(**{"train.averaging": 0.15, "train.learning_rate": 1e-2}))
    state, step = trainer.init(jax.random.key(0)), jax.jit(trainer.train_step)
    expected = state.tested
    for number, kept in enumerate((1 / 10, 0.15, 0.15)):  # 2 / 11 is more than 0.15
        state, _ = step(state, faces, jnp.arange(6), jax.random.key(number))
        now = {"params": state.params, "batch_stats": state.batch_stats}
        expected = jax.tree.map(lambda mean, leaf, kept=kept: kept * mean + (1 - kept) * leaf, expected, now)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), state.tested, expected)
    plain = Network(make_config().model).logits(state.average["params"], state.average["batch_stats"], faces.maps)
    np.testing.assert_allclose(trainer.logits(state, faces, jnp.arange(36)), plain, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_face_and_its_mirror_image_are_told_alike(faces):
    maps = jax.tree.map(lambda m: m[:4], faces.maps)
    config = make_config(**{"model.mirror": True})
    params, stats = Network(config.model).init(jax.random.key(2))
    logits = jax.jit(Network(config.model).logits)
    both = [np.asarray(logits(params, stats, each)) for each in (maps, mirrored(maps))]
    np.testing.assert_allclose(*both, rtol=0, atol=5e-7)
    alone = Network(make_config().model)
    one, other = (np.asarray(alone.logits(params, stats, each)) for each in (maps, mirrored(maps)))
    assert np.abs(one - other).max() > 5e-6  # which no side alone does
    np.testing.assert_allclose(both[0], (one + other) / 2, rtol=0, atol=5e-7)


@pytest.mark.slow
def test_smoothed_labels_are_the_cross_entropy_with_them():
    logits, labels = jax.random.normal(jax.random.key(0), (5, 6)), jnp.array([0, 3, 5, 1, 1])
    plain = Trainer(make_config())._cross_entropy(logits, labels)
    assert plain == optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
    smooth = Trainer(make_config(**{"train.label_smoothing": 0.3}))._cross_entropy(logits, labels)
    uniform = -jax.nn.log_softmax(logits).mean()
    np.testing.assert_allclose(smooth, 0.7 * plain + 0.3 * uniform, rtol=1e-5)
