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
    trainer = Trainer(make_config(**{"train.averaging": 0.75, "train.learning_rate": 1e-2}))
    before = trainer.init(jax.random.key(0))
    after, _ = jax.jit(trainer.train_step)(before, faces, jnp.arange(6), jax.random.key(1))
    for name in ("params", "batch_stats"):
        expected = jax.tree.map(lambda a, b: 0.75 * a + 0.25 * b, getattr(before, name), getattr(after, name))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), after.tested[name], expected)
    plain = Network(make_config().model).logits(after.average["params"], after.average["batch_stats"], faces.maps)
    np.testing.assert_allclose(trainer.logits(after, faces, jnp.arange(36)), plain, rtol=1e-5, atol=1e-6)


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


def test_smoothed_labels_are_the_cross_entropy_with_them():
    logits, labels = jax.random.normal(jax.random.key(0), (5, 6)), jnp.array([0, 3, 5, 1, 1])
    plain = Trainer(make_config())._cross_entropy(logits, labels)
    assert plain == optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
    smooth = Trainer(make_config(**{"train.label_smoothing": 0.3}))._cross_entropy(logits, labels)
    uniform = -jax.nn.log_softmax(logits).mean()
    np.testing.assert_allclose(smooth, 0.7 * plain + 0.3 * uniform, rtol=1e-5)
