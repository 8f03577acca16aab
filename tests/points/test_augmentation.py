"""What is changed at random stays one head: points, landmarks and texture together, and each draw has its own key."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from afnet_jax.config import default_config, validate
from afnet_jax.errors import ConfigError
from afnet_jax.geometry.alignment import TEMPLATE
from afnet_jax.maps import Clouds
from afnet_jax.points.augmentation import change_cloud, moved, render_augmented
from afnet_jax.points.rendering import render
from afnet_jax.points.visibility import canonical
from afnet_jax.scans.scan import LANDMARKS
from benchmarks.programs import AUGMENTED

pytestmark = pytest.mark.slow  # each test compiles a renderer

KEYS = jax.random.split(jax.random.key(0), 6)
POINTS = 4096


def settings(**changes):
    augment = default_config().train.augment
    with augment.unlocked():
        augment.update(changes)
    return augment


@pytest.fixture(scope="module")
def cloud() -> Clouds:
    """One bowl, whose first points are the template's landmarks."""
    rng = np.random.default_rng(0)
    points = np.stack([rng.uniform(-70, 70, POINTS), rng.uniform(-110, 70, POINTS), np.zeros(POINTS)], axis=1)
    points[:, 2] = 20 - (points[:, 0] ** 2 + points[:, 1] ** 2) / 200
    landmarks = np.array([TEMPLATE[name] for name in LANDMARKS], np.float32)
    points[: len(landmarks)] = landmarks
    rotation = Rotation.from_euler("xyz", (10, -5, 3), degrees=True).as_matrix()
    offset = np.array([3.0, -2.0, 5.0])
    raw = (points - offset) @ rotation  # rotation @ raw + offset = points
    colours = rng.integers(60, 200, (POINTS, 3), np.uint8)
    return Clouds(raw.astype(np.float32), colours, rotation.astype(np.float32), offset.astype(np.float32), landmarks)


def batch(cloud: Clouds, count: int = 1) -> Clouds:
    return jax.tree.map(lambda a: np.repeat(np.asarray(a)[None], count, 0), cloud)


def places(cloud: Clouds) -> np.ndarray:
    return np.stack(canonical(batch(cloud)), axis=-1)[0]


def test_off_is_off(cloud):
    two = batch(cloud, 2)
    plain = jax.jit(lambda c: render(c, 32))(two)
    off = jax.jit(lambda c, k: render_augmented(c, k, 32, (), settings()))(two, KEYS[:2])
    for one, other in zip(jax.tree.leaves(plain), jax.tree.leaves(off), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "changes",
    [{"yaw": 30.0}, {"pitch": 30.0}, {"roll": 30.0}, {"shift_mm": 9.0}, {"scale": 0.2}, {"yaw": 9.0, "scale": 0.1}],
)
def test_a_head_moves_as_a_whole(cloud, changes):
    """Points and landmarks by the same motion, which is a rotation times a size, about what was asked for."""
    for key in KEYS:
        moved = change_cloud(cloud, key, settings(**changes))
        after, before = places(moved), places(cloud)
        np.testing.assert_allclose(after[: len(LANDMARKS)], moved.landmarks, atol=1e-3)
        a, b = before - before.mean(0), after - after.mean(0)
        size = np.sqrt((b**2).sum() / (a**2).sum())
        rotation, rest = Rotation.align_vectors(b, a * size)
        assert rest < 0.05 and abs(size - 1) <= changes.get("scale", 0) + 1e-5
        angles = dict(zip(("pitch", "yaw", "roll"), rotation.as_euler("xyz", degrees=True), strict=True))
        for name, angle in angles.items():
            assert abs(angle) <= changes.get(name, 0.0) + 0.05, name
        if "shift_mm" in changes:
            assert 0.1 < np.abs(after - before).max() <= 9.001
    assert not np.allclose(before, after, atol=0.1)


def test_heads_are_turned_by_what_is_said(cloud):
    turn = jnp.asarray(Rotation.from_euler("y", 20, degrees=True).as_matrix(), jnp.float32)
    after = places(moved(cloud, turn, jnp.zeros(3)))
    before = places(cloud)
    rotation, _ = Rotation.align_vectors(after - after.mean(0), before - before.mean(0))
    np.testing.assert_allclose(rotation.as_euler("xyz", degrees=True), (0, 20, 0), atol=0.01)


def test_noise_is_normal_and_along_the_line_of_sight(cloud):
    shares = []
    for key in KEYS:
        off = places(change_cloud(cloud, key, settings(noise_mm=2.0))) - places(cloud)
        np.testing.assert_allclose(off[:, :2], 0, atol=1e-3)
        shares.append(off[:, 2].std())
        standard = off[:, 2] / off[:, 2].std()
        assert abs(standard.mean()) < 0.06 and abs((np.abs(standard) < 1).mean() - 0.683) < 0.02
        assert abs(np.corrcoef(standard[1:], standard[:-1])[0, 1]) < 0.06
    assert max(shares) <= 2.05 and min(shares) < 1 < max(shares)


def test_holes_take_balls_of_points(cloud):
    counts = []
    for key in jax.random.split(jax.random.key(1), 20):
        torn = change_cloud(cloud, key, settings(holes=2, hole_mm=20.0))
        lost = np.isnan(torn.points).all(1)
        counts.append(lost.sum())
        np.testing.assert_array_equal(torn.points[~lost], cloud.points[~lost])
        if lost.any():
            here = places(cloud)[lost]
            spread = np.linalg.norm(here - here.mean(0), axis=1)
            assert spread.max() < 20 or len(here) > 2  # within a ball, or within two
    assert min(counts) == 0 and max(counts) > 20


def test_landmarks_alone_are_jittered(cloud):
    moved = [change_cloud(cloud, key, settings(landmarks_mm=2.0)) for key in KEYS]
    off = np.stack([np.asarray(each.landmarks) - cloud.landmarks for each in moved])
    assert 1.6 < off.std() < 2.4
    for each in moved:
        np.testing.assert_array_equal(each.points, cloud.points)


def test_light_and_colour_change_the_texture_alone(cloud):
    two = batch(cloud, 2)
    plain = jax.jit(lambda c: render(c, 32))(two)
    lit = jax.jit(lambda c, k: render_augmented(c, k, 32, (), settings(light=0.5, colour=0.2)))(two, KEYS[:2])
    for name in ("depth", "mask1", "mask2"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(lit, name))
    assert not np.array_equal(plain.texture[0], lit.texture[0]) and not np.array_equal(lit.texture[0], lit.texture[1])
    outside = np.isnan(np.asarray(plain.depth, np.float32))[..., 0]
    black = (np.asarray(plain.texture) == 0).all(-1)
    assert (np.asarray(lit.texture)[outside & black] == 0).all()
    # A lamp from one side: the bowl's halves change by different shares.
    ratio = np.asarray(lit.texture, float)[0].mean(-1) / np.maximum(np.asarray(plain.texture, float)[0].mean(-1), 1)
    inside = ~outside[0]
    thirds = [
        np.median(part[mask]) for part, mask in ((ratio[:, :14], inside[:, :14]), (ratio[:, 18:], inside[:, 18:]))
    ]
    thirds += [np.median(part[mask]) for part, mask in ((ratio[:14], inside[:14]), (ratio[18:], inside[18:]))]
    assert max(thirds) - min(thirds) > 0.01


def test_a_draw_is_of_its_key_and_not_of_its_neighbours(cloud):
    program = jax.jit(lambda c, k: render_augmented(c, k, 32, (), settings(**AUGMENTED)))
    first = program(batch(cloud, 3), KEYS[:3])
    again = program(batch(cloud, 3), KEYS[np.array([2, 5, 0])])
    for one, other in zip(jax.tree.leaves(first), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(one[0], other[2])
        np.testing.assert_array_equal(one[2], other[0])
    assert not np.array_equal(first.depth[0], first.depth[1])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"dataset.input": "meshes"}, "config.dataset.input: expected maps or points, found 'meshes'"),
        ({"train.augment.yaw": 20.0}, "config.train.augment.yaw: expected 0 where config.dataset.input is 'maps'"),
        (
            {"dataset.input": "points", "train.augment.yaw": 95.0},
            "config.train.augment.yaw: expected a number from 0 to 90",
        ),
        (
            {"dataset.input": "points", "train.augment.holes": -1},
            "config.train.augment.holes: expected a number from 0",
        ),
        ({"dataset.input": "points", "train.augment.noise_mm": float("nan")}, "config.train.augment.noise_mm"),
    ],
)
def test_what_cannot_be_is_refused(changes, told):
    config = default_config()
    config.update_from_flattened_dict(changes)
    with pytest.raises(ConfigError, match=told):
        validate(config)


def test_everything_can_be_asked_for_of_points():
    config = default_config()
    config.update_from_flattened_dict(
        {"dataset.input": "points"} | {f"train.augment.{k}": v for k, v in AUGMENTED.items()}
    )
    validate(config)
    assert set(AUGMENTED) | {"hole_mm"} == set(config.train.augment)
