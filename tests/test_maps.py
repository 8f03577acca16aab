"""Surface normals, which no record holds: right by geometry, and nothing to a network that does not see them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from afnet_jax.datasets.loading import FaceDataset
from afnet_jax.datasets.reduction import reduce_maps
from afnet_jax.errors import DatasetError
from afnet_jax.maps import Faces, maps_of
from afnet_jax.models.afnet import AFNet
from afnet_jax.models.architecture import VARIANTS, Architecture
from afnet_jax.models.pretrained import PretrainedTrunk
from afnet_jax.training.augmentation import augment
from afnet_jax.training.step import Trainer
from tests.support.small_training import make_config

EDGE, STEP, RADIUS = 224, 235 / 224, 90.0  # pixels and mm
ALL = ("texture", "depth", "normals")


def drawn(depth: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "texture": np.full((EDGE, EDGE, 3), 90, np.uint8),
        "depth": depth.astype(np.float32),
        "mask1": np.ones((EDGE // 4, EDGE // 4), np.float32),
        "mask2": np.ones((EDGE // 8, EDGE // 8), np.float32),
    }


def grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Canonical x and y of pixel centres, mm."""
    offsets = (np.arange(size) - (size - 1) / 2) * STEP * EDGE / size
    return np.meshgrid(offsets, -offsets)


def dome(size: int) -> np.ndarray:
    """Depth of a ball's front, NaN beyond 60 mm from its middle."""
    x, y = grid(size)
    return np.where(np.hypot(x, y) < 60, np.sqrt(np.maximum(RADIUS**2 - x**2 - y**2, 0)), np.nan)


@pytest.mark.parametrize("size", [224, 64])
def test_normals_of_a_ball_point_away_from_its_middle(size):
    maps = reduce_maps(drawn(dome(EDGE)), STEP, size, ALL)
    assert maps.normals.shape == (size, size, 3) and maps.normals.dtype == np.float16
    x, y = grid(size)
    inner = np.hypot(x, y) < 50
    depth = np.sqrt(np.maximum(RADIUS**2 - x**2 - y**2, 0))
    expected = np.stack([x, y, depth], -1) / RADIUS
    np.testing.assert_allclose(maps.normals[inner], expected[inner], atol=0.01)
    outside = np.isnan(maps.depth[..., 0])
    assert outside.any() and not maps.normals[outside].any()
    np.testing.assert_allclose(np.linalg.norm(maps.normals[~outside].astype(float), axis=-1), 1, atol=2e-3)


def test_a_plane_has_one_normal_up_to_its_edge():
    x, y = grid(EDGE)
    depth = np.where(np.hypot(x, y) < 60, 0.5 * x - 0.2 * y, np.nan)
    normals = reduce_maps(drawn(depth), STEP, EDGE, ALL).normals[np.isfinite(depth)]
    expected = np.array([-0.5, 0.2, 1]) / np.sqrt(1.29)
    np.testing.assert_allclose(normals, np.broadcast_to(expected, normals.shape), atol=2e-3)


def test_a_mirrored_face_has_the_normals_of_its_mirrored_depth():
    x, _ = grid(EDGE)
    tilted = dome(EDGE) + 0.3 * x
    plain, mirrored = (reduce_maps(drawn(each), STEP, EDGE // 2, ALL) for each in (tilted, tilted[:, ::-1]))
    batch = jax.tree.map(lambda m: jnp.stack([m] * 8), plain)
    flipped = augment(batch, jax.random.key(3), make_config(**{"train.flip": True}).train)
    were_mirrored = [not np.array_equal(d, plain.depth, equal_nan=True) for d in np.asarray(flipped.depth)]
    assert any(were_mirrored) and not all(were_mirrored)
    for was_mirrored, normals in zip(were_mirrored, np.asarray(flipped.normals), strict=True):
        np.testing.assert_allclose(normals, (mirrored if was_mirrored else plain).normals, atol=2e-3)


@pytest.mark.slow
def test_a_shift_brings_in_no_surface():
    plain = reduce_maps(drawn(dome(EDGE)), STEP, 64, ALL)
    batch = jax.tree.map(lambda m: jnp.stack([m] * 8), plain)
    moved = augment(batch, jax.random.key(1), make_config(**{"train.max_shift": 20}).train)
    assert not np.array_equal(moved.normals, batch.normals)
    np.testing.assert_array_equal(np.isnan(moved.depth[..., 0]), ~np.asarray(moved.normals).any(-1))


def test_only_a_network_that_sees_normals_is_given_them():
    seen, unseen = (reduce_maps(drawn(dome(EDGE)), STEP, 32, modalities) for modalities in (ALL, ("texture", "depth")))
    assert unseen.normals is None and seen.normals is not None
    for with_normals, without in zip(seen[:4], unseen[:4], strict=True):
        np.testing.assert_array_equal(with_normals, without)
    assert list(maps_of(("texture",))) == ["texture", "depth", "mask1", "mask2"]
    assert list(maps_of(ALL)) == ["texture", "depth", "mask1", "mask2", "normals"]


def test_the_digest_of_a_data_set_is_of_the_maps_it_has():
    maps = jax.tree.map(lambda m: m[None], reduce_maps(drawn(dome(EDGE)), STEP, 32, ALL))
    rest = np.zeros(1, np.int32), np.array(["a"]), np.array(["b"]), np.zeros(1, int)
    digests = {FaceDataset(each, *rest).digest for each in (maps, maps._replace(normals=None))}
    assert len(digests) == 2


@pytest.fixture
def faces() -> Faces:
    draw = np.random.default_rng(0)
    domes = [dome(EDGE) + draw.uniform(-0.3, 0.3) * grid(EDGE)[0] for _ in range(4)]
    maps = [reduce_maps(drawn(each), STEP, 32, ALL) for each in domes]
    return Faces(jax.tree.map(lambda *column: jnp.stack(column), *maps), jnp.arange(4))


def _new(modalities: tuple[str, ...]) -> AFNet:
    return AFNet(Architecture(modalities=modalities), rngs=nnx.Rngs(0))


@pytest.mark.slow
def test_a_network_of_texture_and_depth_computes_nothing_of_normals(faces):
    assert VARIANTS["afnet"] == Architecture() == Architecture(modalities=("texture", "depth"))
    for modalities, uses in ((("texture", "depth"), False), (ALL, True)):
        traced = jax.make_jaxpr(lambda n, of=modalities: _new(of)(faces.maps._replace(normals=n)))(faces.maps.normals)
        (normals,) = traced.jaxpr.invars
        assert uses == any(normals is each for equation in traced.jaxpr.eqns for each in equation.invars)


def test_maps_without_what_the_network_sees_are_refused_in_one_line(faces):
    with pytest.raises(DatasetError, match="sees normals, and the maps have none"):
        jax.eval_shape(lambda: _new(ALL)(faces.maps._replace(normals=None)))


@pytest.mark.slow
def test_the_stem_of_three_stacked_modalities_answers_equal_images_as_the_original():
    kernel = np.random.default_rng(0).normal(size=(7, 7, 3, 64)).astype(np.float32)
    architecture = Architecture(modalities=ALL, fusion="input", importance_weights=False)
    model = AFNet(architecture, rngs=nnx.Rngs(0))
    state = nnx.to_flat_state(nnx.state(model.trunks["stacked"]))
    tensors = {".".join(map(str, path)): leaf[...] for path, leaf in state}
    PretrainedTrunk({**tensors, "conv1.kernel": kernel}).apply(model)
    found = np.asarray(model.trunks["stacked"].conv1.kernel[...])
    assert found.shape == (7, 7, 9, 64)
    np.testing.assert_allclose(found.reshape(7, 7, 3, 3, 64).sum(2), kernel, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_network_that_sees_normals_trains_a_step(faces):
    config = make_config()
    config.model.update(modalities=ALL, fusion="layers", fusion_stages=(3, 4), importance_weights=True)
    trainer = Trainer(config)
    state = trainer.init(jax.random.key(0))
    assert set(state.params["trunks"]) == set(ALL) == set(state.params["importance_weights"])
    after, metrics = jax.jit(trainer.train_step)(state, faces, jnp.arange(4), jax.random.key(1))
    assert np.isfinite(metrics.loss) and metrics.gradient_norm > 0
    for name in ALL:
        before, now = (each.params["trunks"][name]["conv1"]["kernel"] for each in (state, after))
        assert not np.array_equal(before, now), name
