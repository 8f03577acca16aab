"""Spikes, bits and bridges put into a known surface are found, and the surface is left alone."""

import tracemalloc

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from afnet_jax.geometry.surface import SurfaceConfig, clean_surface


def noisy(face, spacing, noise, seed=0):
    scan = face.scan(spacing)
    rng = np.random.default_rng(seed)
    return scan.points + rng.normal(0, noise, scan.points.shape), scan.triangles, rng


@pytest.mark.parametrize(("spacing", "noise"), [(0.8, 0.2), (2.2, 0.4), (2.2, 0.0)])
def test_finds_spikes_and_keeps_the_surface(face, spacing, noise):
    points, triangles, rng = noisy(face, spacing, noise)
    spikes = rng.choice(len(points), len(points) // 100, replace=False)
    height = rng.uniform(5, 40, len(spikes)) * rng.choice([-1, 1], len(spikes))
    points[spikes, 2] += height
    turned = points @ Rotation.from_euler("xyz", [10, 15, -20], degrees=True).as_matrix().T
    clean = clean_surface(turned, triangles, SurfaceConfig())
    is_spike = np.isin(np.arange(len(points)), spikes)
    assert clean.points[is_spike].mean() < 0.03
    assert clean.points[~is_spike].mean() > 0.99
    assert clean.points[triangles[clean.triangles]].all()


def test_finds_neighbouring_spikes(face):
    points, triangles, _ = noisy(face, 1.5, 0.2)
    middle = np.argmin(np.abs(points[:, :2] - (20, -50)).sum(axis=1))
    cluster = np.unique(triangles[(triangles == middle).any(axis=1)])
    points[cluster, 2] += np.linspace(10, 30, len(cluster))
    assert not clean_surface(points, triangles, SurfaceConfig()).points[cluster].any()


@pytest.mark.parametrize("noise", [0.1, 0.2, 0.4])
def test_measures_the_noise(face, noise):
    points, triangles, _ = noisy(face, 1.5, noise)
    assert clean_surface(points, triangles, SurfaceConfig()).noise == pytest.approx(noise, rel=0.3)


def test_removes_isolated_bits(face):
    points, triangles, _ = noisy(face, 1.5, 0.0)
    patch = np.abs(points[:, :2] - (10, -40)).max(axis=1) < 3
    bit = points[patch] + (0, 0, 25)
    bit_triangles = (np.cumsum(patch) - 1 + len(points))[triangles[patch[triangles].all(axis=1)]]
    clean = clean_surface(np.vstack([points, bit]), np.vstack([triangles, bit_triangles]), SurfaceConfig())
    assert 10 < len(bit) < 30
    assert not clean.points[len(points) :].any() and clean.points[: len(points)].all()


def test_removes_triangles_that_bridge_a_gap(face):
    points, triangles, _ = noisy(face, 1.5, 0.0)
    bridge = [[0, len(points) - 1, len(points) // 2]]
    clean = clean_surface(points, np.vstack([triangles, bridge]), SurfaceConfig())
    assert not clean.triangles[-1] and clean.triangles[:-1].mean() > 0.99


def test_a_fan_takes_no_more_memory_than_a_mesh(face):
    """A cap of 2,000 triangles about one point."""
    scan, rim = face.scan(0.5), np.arange(2000)
    fan = np.stack([rim[:-1], rim[1:], np.full(len(rim) - 1, len(scan.points))], axis=1)
    tracemalloc.start()
    clean_surface(np.vstack([scan.points, [[0, 0, -100]]]), np.vstack([scan.triangles, fan]), SurfaceConfig())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200e6
