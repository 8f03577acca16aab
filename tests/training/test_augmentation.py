"""Augmentation moves all maps of a scan together and breaks nothing; without it nothing changes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from afnet_jax.maps import Maps
from afnet_jax.training.augmentation import augment
from tests.support.small_training import make_config

pytestmark = pytest.mark.slow  # each test compiles an augmentation

SIZE = 64


@pytest.fixture
def batch() -> Maps:
    """A disc on each map, at the same place of the face."""
    rng = np.random.default_rng(0)
    centres = rng.uniform(0.35, 0.65, (8, 2))

    def disc(size):
        grid = (np.arange(size) + 0.5) / size
        rows, cols = grid[None, :, None] - centres[:, :1, None], grid[None, None, :] - centres[:, 1:, None]
        return (np.hypot(rows, cols) < 0.2).astype(np.float16)[..., None]

    depth = np.where(disc(SIZE) > 0, np.float16(5), np.float16(np.nan))
    texture = (disc(SIZE) * 200).astype(np.uint8).repeat(3, -1)
    return Maps(*map(jnp.asarray, (texture, depth, disc(SIZE // 4), disc(SIZE // 8))))


def _augmented(batch, **settings):
    config = make_config(**{f"train.{name}": value for name, value in settings.items()})
    return augment(batch, jax.random.key(3), config.train)


def _centre(maps):
    """(B, 2) centre of mass, as a share of the image."""
    mass = np.nan_to_num(np.asarray(maps, np.float32)).sum(-1)
    grid = (np.arange(mass.shape[1]) + 0.5) / mass.shape[1]
    return np.stack([(mass.sum(2) @ grid), (mass.sum(1) @ grid)], 1) / mass.sum((1, 2))[:, None]


def test_off_is_off(batch):
    for before, after in zip(*map(jax.tree.leaves, (batch, _augmented(batch))), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize(
    "settings",
    [
        {"flip": True},
        {"max_shift": 8},
        {"flip": True, "max_shift": 16},
        {"max_turn": 25.0},
        {"max_zoom": 0.1},
        {"flip": True, "max_shift": 6, "max_turn": 10.0, "max_zoom": 0.1},
    ],
)
def test_all_maps_move_together(batch, settings):
    moved = _augmented(batch, **settings)
    assert not np.array_equal(moved.texture, batch.texture)
    for maps, tolerance in ((moved.depth, 1e-3), (moved.mask1, 0.02), (moved.mask2, 0.04)):
        np.testing.assert_allclose(_centre(maps), _centre(moved.texture), atol=tolerance)


def test_a_flip_mirrors_some_and_leaves_others(batch):
    flipped = np.asarray(_augmented(batch, flip=True).texture)
    same = (flipped == np.asarray(batch.texture)).all((1, 2, 3))
    mirrored = (flipped[:, :, ::-1] == np.asarray(batch.texture)).all((1, 2, 3))
    assert (same | mirrored).all() and same.any() and mirrored.any()


def test_what_a_shift_brings_in_is_outside_the_face(batch):
    moved = _augmented(batch, max_shift=24)
    assert np.isfinite(np.asarray(moved.mask1)).all() and np.isfinite(np.asarray(moved.mask2)).all()
    outside = np.isnan(np.asarray(moved.depth))[..., 0]
    assert (np.asarray(moved.texture)[outside] == 0).all()


def test_a_turn_is_what_scipy_makes_of_the_same_angle():
    """Of a smooth image, since both interpolate linearly; the angle is drawn, and found again by the best match."""
    rng = np.random.default_rng(3)
    smooth = scipy.ndimage.gaussian_filter(rng.normal(0, 1, (SIZE, SIZE)), 4)
    smooth = (255 * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.uint8)
    batch = _face(6)._replace(texture=jnp.asarray(np.broadcast_to(smooth[None, ..., None], (6, SIZE, SIZE, 3))))
    middle, found = np.s_[16:48, 16:48], []
    for turned in np.asarray(_augmented(batch, max_turn=20.0).texture, float)[..., 0]:
        errors = {
            angle: np.abs(scipy.ndimage.rotate(smooth.astype(float), angle, reshape=False, order=1) - turned)[middle]
            for angle in np.arange(-20, 20.1, 0.5)
        }
        found.append(min(errors, key=lambda angle, errors=errors: errors[angle].mean()))
        assert errors[found[-1]].mean() < 1.5
    assert len(set(found)) >= 4 and min(found) < -3 and max(found) > 3


def test_a_larger_face_is_deeper_in_proportion():
    """A slope of depth stays the same slope."""
    plane = np.broadcast_to(np.linspace(-31.5, 31.5, SIZE)[None, None, :, None], (6, SIZE, SIZE, 1))
    batch = _face(6)._replace(depth=jnp.asarray(plane.astype(np.float16)))
    zoomed = np.asarray(_augmented(batch, max_zoom=0.3).depth, float)[:, 24:40, 24:40, 0]
    np.testing.assert_allclose(np.diff(zoomed, axis=2), 1.0, atol=0.05)


def test_this_share_of_the_scans_sees_the_masks_of_another():
    count = 400
    masks = {
        f"mask{k}": jnp.arange(count, dtype=jnp.float32)[:, None, None, None] * jnp.ones((SIZE // (4 * k),) * 2 + (1,))
        for k in (1, 2)
    }
    swapped = _augmented(_face(count)._replace(**masks), swap_masks=0.3)
    whose = np.asarray(swapped.mask1, int)[:, 0, 0, 0]
    np.testing.assert_array_equal(np.asarray(swapped.mask2, int)[:, 0, 0, 0], whose)  # both of the same scan
    assert 0.22 < (whose != np.arange(count)).mean() < 0.38
    assert np.unique(
        np.asarray(_augmented(_face(4)._replace(**{k: m[:4] for k, m in masks.items()}), swap_masks=1.0).mask1)
    ).tolist() == [0, 1, 2, 3]


def test_whose_masks_are_swapped_has_nothing_to_do_with_the_light():
    """Or brightness would tell a network which masks to distrust."""
    count = 400
    of_whom = jnp.arange(count, dtype=jnp.float32)[:, None, None, None]
    masks = {f"mask{k}": of_whom * jnp.ones((SIZE // (4 * k),) * 2 + (1,)) for k in (1, 2)}
    shades = np.full((count, SIZE, SIZE, 3), 60, np.uint8)
    shades[:, :, SIZE // 2 :] = 160
    face = Maps(jnp.asarray(shades), jnp.zeros((count, SIZE, SIZE, 1), jnp.float16), masks["mask1"], masks["mask2"])
    changed = _augmented(face, swap_masks=0.5, colour_jitter=0.15)
    swapped = np.asarray(changed.mask1)[:, 0, 0, 0] != np.arange(count)
    texture = np.asarray(changed.texture, float)[:, 0, :, 0]
    contrast = texture[:, -1] - texture[:, 0]
    assert 90 < contrast.mean() < 110 and contrast.std() > 5
    assert abs(np.corrcoef(swapped, contrast)[0, 1]) < 0.2  # 0.05 is the deviation of chance


def test_masks_move_by_the_deviation_that_was_asked_for_and_images_stay():
    """A mask that holds each pixel's row shows from which row it came."""
    count, row = 400, np.broadcast_to(np.arange(16.0)[:, None, None], (16, 16, 1))
    faces = _face(count)._replace(mask1=jnp.asarray(np.broadcast_to(row, (count, 16, 16, 1)), jnp.float32))
    moved = _augmented(faces, move_masks=2.0)
    np.testing.assert_array_equal(moved.texture, faces.texture)
    np.testing.assert_array_equal(moved.depth, faces.depth)
    by = SIZE / 16 * (row - np.asarray(moved.mask1))[..., 0]  # pixels of the image
    above, below = by[:, 2, 2], by[:, 13, 13]  # beside two of the nine places: those between move less
    np.testing.assert_allclose([above.std(), below.std()], 2.0, rtol=0.15)
    assert abs(above.mean()) < 0.4 and abs(np.corrcoef(above, below)[0, 1]) < 0.2


LOOKS = {"gamma": 0.5, "tint": 0.3, "grey": 1.0, "noise": 0.1, "noise_mm": 2.0, "blur": 2.0}


@pytest.mark.parametrize("name", LOOKS)
def test_looks_change_the_face_and_nothing_outside_it(batch, name):
    changed = _augmented(batch, **{name: LOOKS[name]})
    outside = np.isnan(np.asarray(batch.depth))
    np.testing.assert_array_equal(np.isnan(np.asarray(changed.depth)), outside)
    assert (np.asarray(changed.texture)[outside[..., 0]] == 0).all()
    of_depth, of_texture = name in ("noise_mm", "blur"), name not in ("noise_mm",)
    if name == "blur":  # of a face of one colour and depth nothing changes, up to its edge
        np.testing.assert_allclose(np.asarray(changed.depth)[~outside], 5, atol=0.01)
        np.testing.assert_allclose(np.asarray(changed.texture)[~outside[..., 0]], 200, atol=1)
    elif name == "grey":  # which it was
        np.testing.assert_allclose(np.asarray(changed.texture), np.asarray(batch.texture), atol=1)
    else:
        assert np.array_equal(changed.depth, batch.depth, equal_nan=True) != of_depth
        assert np.array_equal(changed.texture, batch.texture) != of_texture


def test_grey_brings_the_colours_together():
    faces = _face(8)
    changed = np.asarray(_augmented(faces, grey=1.0).texture, float)
    spread, before = changed.std(-1).mean((1, 2)), np.asarray(faces.texture, float).std(-1).mean((1, 2))
    assert (spread < before).all() and spread.min() < 0.5 * before.min()
    np.testing.assert_allclose(changed.mean(-1), np.asarray(faces.texture, float).mean(-1), atol=1)


def test_noise_is_of_the_deviation_that_was_asked_for():
    faces = _face(64)._replace(depth=jnp.zeros((64, SIZE, SIZE, 1), jnp.float16))
    spread = np.asarray(_augmented(faces, noise_mm=4.0).depth, float).std((1, 2, 3))
    assert 3.5 < spread.max() < 4.2 and spread.min() < 0.5  # each scan draws its own, from none to all of it


def test_what_is_cut_out_is_a_hole_in_every_image():
    faces = _face(32)
    faces = faces._replace(normals=jnp.ones((*faces.depth.shape[:3], 3), jnp.float16))
    changed = _augmented(faces, erase=0.4)
    hole = np.isnan(np.asarray(changed.depth))[..., 0]
    assert (np.asarray(changed.texture)[hole] == 0).all()
    np.testing.assert_array_equal(np.asarray(changed.normals)[..., 0] == 0, hole)
    share = hole.mean((1, 2))
    assert 0.25 < (share > 0).mean() < 0.75 and share.max() <= 0.41**2
    rest = ~hole
    np.testing.assert_array_equal(np.asarray(changed.texture)[rest], np.asarray(faces.texture)[rest])


def _face(count: int = 1) -> Maps:
    """Random maps, masks up to the edge; red and green of the texture are each pixel's row and column, from 1."""
    rng = np.random.default_rng(7)
    depth = rng.normal(0, 30, (1, SIZE, SIZE, 1)).astype(np.float16)
    texture = np.stack([*np.mgrid[1 : SIZE + 1, 1 : SIZE + 1], rng.integers(0, 256, (SIZE, SIZE))], -1)[None]
    masks = [rng.random((1, SIZE // k, SIZE // k, 1)).astype(np.float16) for k in (4, 8)]
    return Maps(*(jnp.asarray(np.repeat(m, count, 0)) for m in (texture.astype(np.uint8), depth, *masks)))


def _rolled(image, shift, fill):
    """(S, S, C) moved by whole pixels down and right, by np.roll; what came round is outside."""
    moved = np.roll(np.asarray(image).astype(float), shift, (0, 1))
    for axis, by in enumerate(shift):
        came_round = slice(0, by) if by > 0 else slice(SIZE + by, SIZE) if by < 0 else slice(0)
        moved[(slice(None),) * axis + (came_round,)] = fill
    return moved


def _shift_of(texture, original):
    """(down, right) of a moved texture, whose first two channels tell each pixel's place; the rest must agree."""
    row, col = np.argwhere(texture[..., 0])[0]
    shift = int(row) - int(texture[row, col, 0]) + 1, int(col) - int(texture[row, col, 1]) + 1
    np.testing.assert_array_equal(texture, _rolled(original, shift, 0))
    return shift


@pytest.fixture(scope="module")
def shifted():
    """(moved faces, the face, their shifts): 64 draws of up to 15 pixels."""
    faces = _face(64)
    moved = _augmented(faces, max_shift=15)
    return moved, faces, [_shift_of(t, faces.texture[0]) for t in np.asarray(moved.texture)]


def test_a_shift_is_of_whole_pixels_and_every_one_is_drawn(shifted):
    _, _, shifts = shifted
    assert {abs(pixels) for shift in shifts for pixels in shift} == set(range(16))
    for axis in (0, 1):
        assert min(s[axis] for s in shifts) < 0 < max(s[axis] for s in shifts)
    assert len(set(shifts)) > 50  # scans and axes are drawn one by one


def test_depth_moves_as_numpy_rolls_it(shifted):
    moved, faces, shifts = shifted
    for found, shift in zip(np.asarray(moved.depth, float), shifts, strict=True):
        np.testing.assert_array_equal(found, _rolled(faces.depth[0], shift, np.nan))


@pytest.mark.parametrize(("name", "scale"), [("mask1", 4), ("mask2", 8)])
def test_masks_move_as_scipy_interpolates_them(shifted, name, scale):
    moved, faces, shifts = shifted
    original = np.asarray(getattr(faces, name)[0, ..., 0], float)
    for found, shift in zip(np.asarray(getattr(moved, name), float), shifts, strict=True):
        expected = scipy.ndimage.shift(original, np.divide(shift, scale), order=1, mode="grid-constant", cval=0)
        np.testing.assert_allclose(found[..., 0], expected, atol=5e-4)


@pytest.mark.parametrize(("name", "scale"), [("mask1", 4), ("mask2", 8)])
def test_masks_stay_the_mean_of_the_same_pixels_of_the_image(shifted, name, scale):
    """The mask drawn at the image's size, moved with the image, and averaged again."""
    moved, faces, shifts = shifted
    large = np.asarray(getattr(faces, name)[0], float).repeat(scale, 0).repeat(scale, 1)
    for found, shift in zip(np.asarray(getattr(moved, name), float), shifts, strict=True):
        blocks = _rolled(large, shift, 0).reshape(SIZE // scale, scale, SIZE // scale, scale)
        np.testing.assert_allclose(found[..., 0], blocks.mean((1, 3)), atol=5e-4)


def test_each_reach_gives_other_shifts():
    faces = _face(64)
    reached = []
    for reach in range(1, 16):
        texture = np.asarray(_augmented(faces, max_shift=reach).texture)
        reached.append(max(max(map(abs, _shift_of(t, faces.texture[0]))) for t in texture))
    assert reached == list(range(1, 16))


def test_shifts_are_drawn_by_the_key_whether_compiled_or_side_by_side():
    faces, keys = _face(64), jax.random.split(jax.random.key(5), 3)
    train = make_config(**{"train.max_shift": 5}).train
    one_by_one = [augment(faces, key, train) for key in keys]
    together = jax.jit(jax.vmap(lambda key: augment(faces, key, train)))(keys)
    for index, alone in enumerate(one_by_one):
        for ours, theirs in zip(*map(jax.tree.leaves, (alone, together)), strict=True):
            np.testing.assert_array_equal(ours, theirs[index])
    assert not np.array_equal(one_by_one[0].texture, one_by_one[1].texture)


def test_without_augmentation_nothing_is_computed():
    """The traced program holds the draw of keys alone: no operation touches a map."""
    faces, train = _face(2), make_config().train
    traced = jax.make_jaxpr(lambda batch, key: augment(batch, key, train))(faces, jax.random.key(0))
    maps = set(traced.jaxpr.invars[:4])
    assert not any(maps & {v for v in e.invars if hasattr(v, "count")} for e in traced.jaxpr.eqns)
    assert traced.jaxpr.outvars == traced.jaxpr.invars[:4]


def test_colour_changes_within_the_face_alone(batch):
    changed = _augmented(batch, colour_jitter=0.3)
    inside = ~np.isnan(np.asarray(batch.depth))[..., 0]
    assert (np.asarray(changed.texture)[~inside] == 0).all()
    assert (np.asarray(changed.texture)[inside] != np.asarray(batch.texture)[inside]).any()
    np.testing.assert_array_equal(changed.depth, batch.depth)
