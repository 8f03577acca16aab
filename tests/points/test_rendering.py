"""Maps rendered from points beside those that the host draws of the same scan, and beside the true surface."""

import dataclasses

import jax
import numpy as np
import pytest

from afnet_jax.datasets.records import drawn_maps
from afnet_jax.datasets.reduction import reduce_maps
from afnet_jax.maps import INPUT_MAPS
from afnet_jax.points.rendering import grid_of, render, render_all
from afnet_jax.preprocessing.pipeline import PreprocessingConfig
from afnet_jax.quality.evaluation import evaluate, ssim

pytestmark = pytest.mark.slow  # each test compiles a renderer


@pytest.fixture(scope="module", params=[64, 224])
def both(request, scanned, cloud):
    """Maps of the host and of the device, of one scan."""
    size, host = request.param, scanned[2]
    rendered = jax.tree.map(lambda m: m[0], render_all(cloud, size))
    return reduce_maps(drawn_maps(host), host.mm_per_pixel, size), rendered


def test_shapes_and_types_are_those_of_a_data_set(both):
    for expected, found in zip(*map(jax.tree.leaves, both), strict=True):
        assert expected.shape == found.shape and expected.dtype == found.dtype


def test_the_face_is_where_the_host_sees_it(both):
    host, device = (np.isfinite(maps.depth) for maps in both)
    assert (host & device).sum() / (host | device).sum() > 0.95


def test_depth_is_the_hosts(both):
    host, device = (maps.depth.astype(np.float64) for maps in both)
    error = np.abs(device - host)[np.isfinite(device - host)]
    assert np.median(error) < 0.3 and np.quantile(error, 0.95) < 1.5


def test_texture_is_the_hosts_and_black_outside(both):
    host, device = both
    inside = np.isfinite(host.depth + device.depth)[..., 0]
    assert ssim(device.texture.astype(float), host.texture.astype(float), inside) > 0.9
    assert not device.texture[np.isnan(device.depth[..., 0])].any() or device.texture.shape[0] < 128


def test_masks_are_the_hosts(both):
    host, device = both
    for name in ("mask1", "mask2"):
        error = np.abs(getattr(device, name).astype(float) - getattr(host, name))
        if len(host.depth) == 224:
            assert error.max() < 0.02
        else:  # a box of 3.5 pixels is 3 or 4 of them to the host
            assert error.mean() < 0.02 and error.max() < 0.25


def test_the_true_surface_is_met(scanned, cloud):
    """Truth is the synthetic subject's own surface, which neither pipeline has seen."""
    scan, truth, host = scanned
    maps = jax.tree.map(lambda m: m[0], render_all(cloud, 224))
    depth = maps.depth[..., 0].astype(np.float32)
    drawn = dataclasses.replace(host, depth=depth, valid=np.isfinite(depth), texture=maps.texture)
    figures = evaluate(scan, drawn, truth)
    assert figures["inner_median"] < 0.25 and figures["inner_rmse"] < 0.6
    assert figures["covered"] > 0.95 * evaluate(scan, host, truth)["covered"]


def test_normals_are_those_of_the_depth(cloud):
    maps = render_all(cloud, 64, ("depth", "normals"))
    depth, normals = maps.depth[0, ..., 0].astype(float), maps.normals[0].astype(float)
    step = grid_of(64).step
    slope = (depth[2:, 1:-1] - depth[:-2, 1:-1]) / (2 * step), (depth[1:-1, 2:] - depth[1:-1, :-2]) / (2 * step)
    expected = np.stack([-slope[1], slope[0], np.ones_like(slope[0])], -1)
    expected /= np.linalg.norm(expected, axis=-1, keepdims=True)
    known = np.isfinite(expected).all(-1)
    assert known.sum() > 500
    np.testing.assert_allclose(normals[1:-1, 1:-1][known], expected[known], atol=0.02)


def test_each_scan_is_rendered_by_itself(cloud):
    """A batch gives the bits of its scans alone, however many there are."""
    three = jax.tree.map(lambda a: np.concatenate([a, a[:, ::-1] if a.ndim == 3 and a.shape[1] > 100 else a, a]), cloud)
    alone, together = render_all(cloud, 64), render_all(three, 64)
    for one, many in zip(jax.tree.leaves(alone), jax.tree.leaves(together), strict=True):
        np.testing.assert_array_equal(one[0], many[0])
        np.testing.assert_array_equal(one[0], many[2])


def test_the_grid_covers_the_hosts_square():
    host = PreprocessingConfig().grid
    for size in (32, 64, 224):
        grid = grid_of(size)
        for ours, theirs in ((grid.x, host.x), (grid.y[::-1], host.y[::-1])):
            assert ours[0] - grid.step / 2 == pytest.approx(theirs[0] - host.step / 2)
            assert ours[-1] + grid.step / 2 == pytest.approx(theirs[-1] + host.step / 2)


def test_a_cloud_without_points_shows_no_face(cloud):
    empty = cloud._replace(points=np.full_like(cloud.points, np.nan))
    maps = jax.jit(render, static_argnums=1)(empty, 32)
    assert np.isnan(maps.depth.astype(np.float32)).all() and not np.any(maps.texture)
    assert all(np.isfinite(np.asarray(maps._asdict()[name], np.float32)).all() for name in ("mask1", "mask2"))
    assert set(INPUT_MAPS) >= set(maps._fields)
