"""The network's door, its parts as the paper words them, and the ways it is run: in folds, compiled, narrow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from afnet_jax.maps import Maps
from afnet_jax.models.afnet import AFNet
from afnet_jax.models.architecture import VARIANTS, Architecture
from afnet_jax.models.fusion import concatenate, fusion_of
from afnet_jax.models.inputs import IMAGENET_MEAN, IMAGENET_STD, to_images


def faces(count=2, size=64, seed=0):
    """Maps of noise."""
    draw = np.random.RandomState(seed)
    depth = np.where(draw.rand(count, size, size, 1) < 0.3, np.nan, draw.uniform(-90, 60, (count, size, size, 1)))
    return Maps(
        draw.randint(0, 256, (count, size, size, 3)).astype(np.uint8),
        depth.astype(np.float16),
        draw.rand(count, size // 4, size // 4, 1).astype(np.float32),
        draw.rand(count, size // 8, size // 8, 1).astype(np.float32),
    )


def folds_of(architecture, count, dtype=jnp.float32):
    """Graph, and parameters and statistics of some folds stacked on axis 0."""

    def init(key):
        return nnx.split(AFNet(architecture, rngs=nnx.Rngs(key), dtype=dtype), nnx.Param, nnx.BatchStat)

    graph = nnx.graphdef(nnx.eval_shape(lambda: AFNet(architecture, rngs=nnx.Rngs(0), dtype=dtype)))
    return graph, *jax.jit(jax.vmap(lambda key: init(key)[1:]))(jax.random.split(jax.random.key(0), count))


@pytest.fixture(scope="module")
def two_folds():
    return folds_of(VARIANTS["afnet"], 2)


@pytest.fixture(scope="module")
def model(two_folds):
    graph, params, stats = two_folds
    return nnx.merge(graph, one(0, params), one(0, stats), copy=True)


def one(fold, state):
    return jax.tree.map(lambda leaf: leaf[fold], state)


def vector(tree):
    return np.concatenate([np.asarray(leaf, np.float64).ravel() for leaf in jax.tree.leaves(tree)])


def apart(found, expected):
    return np.linalg.norm(vector(found) - vector(expected)) / np.linalg.norm(vector(expected))


def test_the_door_makes_of_bytes_and_millimetres_what_imagenet_weights_expect():
    texture = np.full((1, 32, 32, 3), (0, 51, 255), np.uint8)
    depth = np.full((1, 32, 32, 1), -70.0, np.float32)
    depth[0, 0, :4, 0] = -1000, -10, 50, np.nan
    maps = faces(1, 32)._replace(texture=texture, depth=depth)
    images = to_images(Architecture(), maps, jnp.float32)
    mean, std = np.array(IMAGENET_MEAN), np.array(IMAGENET_STD)
    np.testing.assert_allclose(images["texture"][0, 9, 9], ([0, 0.2, 1] - mean) / std, rtol=1e-5)
    grey = np.array([0, 0.5, 1, 0, 0])[:, None]
    np.testing.assert_allclose(images["depth"][0, 0, :5], (grey - mean) / std, rtol=1e-4)
    stacked = concatenate(fusion_of(VARIANTS["s1"]).trunks, images)["stacked"]
    np.testing.assert_array_equal(stacked, np.concatenate([images["texture"], images["depth"]], -1))


@pytest.mark.slow
def test_starting_weights_follow_their_laws(two_folds):
    _, params, stats = two_folds
    flat = {".".join(map(str, path)): np.asarray(leaf[...]) for path, leaf in nnx.to_flat_state(params)}
    for name, values in flat.items():
        if name.startswith("head"):
            kernel = flat[name.rsplit(".", 1)[0] + ".kernel"]
            bound = 1 / np.sqrt(kernel.shape[1])
            assert np.abs(values).max() <= bound
            assert np.abs(values).max() > 0.6 * bound
        elif name.endswith("kernel"):
            height, width, _, channels = values.shape[1:]
            expected = np.sqrt(2 / (height * width * channels)) if name.startswith("trunks") else 0.02
            assert values.std() == pytest.approx(expected, rel=0.03), name
            assert abs(values.mean()) < 0.02 * expected, name
        else:
            np.testing.assert_array_equal(values, 1 if name.endswith("scale") else 0, err_msg=name)
        if name.endswith("kernel"):
            assert np.corrcoef(values[0].ravel(), values[1].ravel())[0, 1] < 0.2, f"{name}: folds start alike"
    for path, leaf in nnx.to_flat_state(stats):
        np.testing.assert_array_equal(leaf[...], 1 if path[-1] == "var" else 0)


@pytest.mark.slow
def test_intermediates_are_those_of_the_equations(model):
    maps = faces()
    logits, seen = model(maps, return_intermediates=True)
    assert logits.shape == (2, 6)
    assert logits.dtype == jnp.float32
    shapes = {
        "gamma": (2, 16, 16, 64),
        "beta": (2, 16, 16, 64),
        "importance": (2, 1, 1, 256),
        "features": (2, 2, 2, 512),
    }
    for what, place in (("gamma", "/layer1_1"), ("beta", "/layer1_1"), ("importance", "/layer3_1"), ("features", "")):
        for trunk in ("texture", "depth"):
            assert seen[f"{what}/{trunk}{place}"].shape == shapes[what]
    assert len(seen) == 2 * (2 + 2 + 2 + 1)
    weights = seen["importance/texture/layer4_1"]
    assert 0 < weights.min() < weights.max() < 1
    # Eq. 3 and the head by hand, from what was seen on the way.
    fused = sum(seen[f"importance/{t}/layer4_1"] * seen[f"features/{t}"] for t in ("texture", "depth"))
    x = np.asarray(fused).mean((1, 2))
    for layer in model.head.hidden["texture"]:
        x = np.maximum(x @ layer.kernel[...] + layer.bias[...], 0)
    last = model.head.logits["texture"]
    np.testing.assert_allclose(logits, x @ last.kernel[...] + last.bias[...], atol=1e-5)


@pytest.mark.slow
def test_classify_of_encode_is_the_network_and_has_gradients_for_gradcam(model):
    maps = faces()
    features = model.encode(maps)
    np.testing.assert_allclose(model.classify(features), model(maps), atol=1e-6)
    for stage in (1, 2, 3):
        early = model.encode(maps, stage=stage)
        assert early["depth"].shape == (2, 64 >> (stage + 1), 64 >> (stage + 1), 32 << stage)
        np.testing.assert_allclose(model.classify(early, maps=maps, stage=stage), model(maps), atol=1e-6)
    gradients = jax.grad(lambda x: model.classify(x)[:, 3].sum())(features)
    assert all(float(jnp.abs(gradients[trunk]).max()) > 0 for trunk in ("texture", "depth"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variant", "ignored"),
    [("texture_no_ma", ("depth", "mask1", "mask2")), ("depth", ("texture",)), ("s2", ("mask1", "mask2"))],
)
def test_variants_ignore_the_maps_they_do_not_use(variant, ignored, blank_model):
    model = blank_model(variant)
    this, other = faces(seed=0), faces(seed=1)
    mixed = this._replace(**{name: getattr(other, name) for name in ignored})
    np.testing.assert_array_equal(model(this), model(mixed))


@pytest.mark.slow
def test_bfloat16_keeps_parameters_statistics_and_logits_at_float32(two_folds):
    _, params, stats = two_folds
    narrow = nnx.graphdef(nnx.eval_shape(lambda: AFNet(VARIANTS["afnet"], rngs=nnx.Rngs(0), dtype=jnp.bfloat16)))
    maps = faces(count=4)

    def step(params):
        def loss_of(params):
            model = nnx.merge(narrow, params, one(0, stats), copy=True)
            logits = model(maps, train=True)
            return jax.nn.log_softmax(logits)[:, 0].mean(), (logits, nnx.state(model, nnx.BatchStat))

        return jax.grad(loss_of, has_aux=True)(params)

    dtypes = {leaf.dtype for leaf in jax.tree.leaves(jax.eval_shape(step, one(0, params)))}
    assert dtypes == {jnp.dtype(jnp.float32)}


@pytest.mark.slow
def test_bfloat16_is_near_float32(model):
    graph, state = nnx.split(model)
    narrow = nnx.graphdef(nnx.eval_shape(lambda: AFNet(VARIANTS["afnet"], rngs=nnx.Rngs(0), dtype=jnp.bfloat16)))
    maps = faces()
    features = nnx.merge(graph, state).encode(maps)
    narrow_features = jax.jit(lambda state: nnx.merge(narrow, state).encode(maps))(state)
    assert narrow_features["texture"].dtype == jnp.bfloat16
    assert apart(narrow_features, features) < 0.03
