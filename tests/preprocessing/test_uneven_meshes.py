"""Long triangles: surface in meshes of large and small ones, bridges where they span a step in depth or a gap."""

import dataclasses
import itertools
import warnings

import numpy as np
import pytest
import scipy.spatial

from afnet_jax.geometry.surface import SurfaceConfig, clean_surface
from afnet_jax.preprocessing import preprocess
from afnet_jax.quality.evaluation import evaluate
from afnet_jax.quality.truth import mesh_truth

MOUTH, RADIUS = np.array([0.0, -66.0]), 14.0  # mm; a hole there


def meshed(face, plane):
    """A scan whose points stand at (N, 2) places, with a Delaunay triangulation of them."""
    scan = face.scan(20.0)
    points = np.column_stack([plane, face.height(plane[:, 0], plane[:, 1])])
    triangles = scipy.spatial.Delaunay(plane).simplices.astype(np.int32)
    a, b, c = (plane[triangles[:, k]] for k in range(3))
    backward = (b - a)[:, 0] * (c - a)[:, 1] < (b - a)[:, 1] * (c - a)[:, 0]
    triangles[backward] = triangles[backward][:, ::-1]
    uv = face.to_uv(points).astype(np.float32)
    return dataclasses.replace(scan, points=points, triangles=triangles, uv=uv, uv_triangles=triangles)


def within_face(face, plane):
    return ((plane[:, 0] / face.half_width) ** 2 + ((plane[:, 1] - face.middle) / face.half_height) ** 2) < 1


def features_finer_than_cheeks(face):
    """Points 1.2 mm apart on eyes, nose, mouth and chin, up to 15 mm elsewhere: most triangles are small."""
    rng = np.random.default_rng(0)
    x, y = np.meshgrid(np.arange(-75, 76, 11.0), np.arange(-125, 76, 11.0))
    coarse = np.stack([x.ravel(), y.ravel()], axis=1) + rng.uniform(-3, 3, (x.size, 2))
    x, y = np.meshgrid(np.arange(-60, 61, 1.2), np.arange(-120, 20, 1.2))
    fine = np.stack([x.ravel(), y.ravel()], axis=1) + rng.uniform(-0.2, 0.2, (x.size, 2))
    regions = (((-31, 0), 14.0), ((31, 0), 14.0), ((0, -66), 18.0), ((0, -28), 20.0), ((0, -105), 14.0))
    in_fine = [
        np.min([np.hypot(*(plane - at).T) - radius for at, radius in regions], axis=0) for plane in (coarse, fine)
    ]
    plane = np.vstack([coarse[in_fine[0] > 2], fine[in_fine[1] < 0]])
    return meshed(face, plane[within_face(face, plane)])


def slivers(face):
    """Triangles of 12 × 1 mm over cheeks and forehead, small ones over the middle of the face."""
    columns = np.concatenate([np.arange(-71, -24, 12.0), np.arange(-23, 24, 1.5), np.arange(24.5, 72, 12.0)])
    x, y = np.meshgrid(columns, np.arange(-119.0, 70))
    scan = face.scan(20.0)
    points = np.column_stack([x.ravel(), y.ravel(), face.height(x, y).ravel()])
    index = np.arange(x.size).reshape(x.shape)
    a, b, c, d = (part.ravel() for part in (index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]))
    triangles = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)]).astype(np.int32)
    triangles = triangles[within_face(face, points[:, :2])[triangles].all(axis=1)]
    uv = face.to_uv(points).clip(0, 1).astype(np.float32)
    return dataclasses.replace(scan, points=points, triangles=triangles, uv=uv, uv_triangles=triangles)


@pytest.mark.parametrize("mesh", [features_finer_than_cheeks, slivers])
def test_an_uneven_mesh_keeps_its_face(face, mesh):
    scan = mesh(face)
    a, b, c = (scan.points[scan.triangles[:, k]] for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    sides = np.linalg.norm(np.stack([b - a, c - b, a - c]), axis=2)
    assert sides.max(axis=0).max() > 4 * np.median(sides) and sides.max() > 12  # long ones there are
    clean = clean_surface(scan.points, scan.triangles, SurfaceConfig())
    inner = np.hypot(*((a + b + c)[:, :2] / 3 - (0, face.middle)).T) < 60
    assert area[inner & clean.triangles].sum() > 0.995 * area[inner].sum()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        maps = preprocess(scan)
    figures = evaluate(scan, maps, mesh_truth(scan))
    assert figures["inner_lost"] < 0.005 and maps.quality["inner_lost"] < 0.005
    assert figures["inner_rmse"] < 0.3


def test_the_fit_sees_the_inside_of_large_triangles(face):
    scan = meshed(face, features_finer_than_cheeks(face).points[:, :2])
    maps = preprocess(scan)
    assert evaluate(scan, maps, mesh_truth(scan))["whole_rmse"] < 0.4


def with_hole(face):
    """A fine mesh without the mouth, and the triangles that span it: a fan over every third point of the rim."""
    scan = face.scan(1.5)
    away = np.hypot(*(scan.points[:, :2] - MOUTH).T)
    triangles = scan.triangles[(away[scan.triangles] > RADIUS).all(axis=1)]
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    paired = set(map(tuple, edges[:, ::-1].tolist()))
    rim = np.unique([edge for edge in map(tuple, edges.tolist()) if edge not in paired])
    rim = rim[away[rim] < RADIUS + 4]
    rim = rim[np.argsort(np.arctan2(*(scan.points[rim, :2] - MOUTH).T[::-1]))][::3]
    fan = [[rim[0], one, other] for one, other in itertools.pairwise(rim[1:])]
    return scan, triangles, np.array(fan)


def test_triangles_that_span_a_hole_are_dropped(face):
    scan, triangles, fan = with_hole(face)
    clean = clean_surface(scan.points, np.vstack([triangles, fan]), SurfaceConfig())
    long = np.ptp(scan.points[fan][:, :, :2], axis=1).max(axis=1) > 10
    assert long.sum() > 5
    assert not clean.triangles[len(triangles) :][long].any()
    assert clean.bridges[len(triangles) :][long].all() and not clean.bridges[: len(triangles)].any()


def test_triangles_that_span_a_step_are_dropped(face):
    scan = face.scan(1.5)
    lifted = np.hypot(*(scan.points[:, :2] - (0, -28)).T) < 20
    points = scan.points + np.outer(lifted, (0, 0, 15.0))
    step = np.ptp(lifted[scan.triangles].astype(int), axis=1) > 0
    clean = clean_surface(points, scan.triangles, SurfaceConfig())
    assert step.sum() > 50
    assert not clean.triangles[step].any() and clean.bridges.any()
    assert clean.triangles[~step].mean() > 0.99


def test_the_bridge_of_an_uneven_mesh_is_dropped_and_its_surface_is_not(face):
    scan = slivers(face)
    lower, upper = (np.argmin(np.hypot(*(scan.points[:, :2] - at).T)) for at in ((-6, -68), (0, -60)))
    other = np.argmin(np.hypot(*(scan.points[:, :2] - (12, -66)).T))
    points = np.vstack([scan.points, scan.points[other] + (0, 0, 20)])
    bridge = [[lower, len(scan.points), upper]]  # stands up steeply from the skin
    clean = clean_surface(points, np.vstack([scan.triangles, bridge]), SurfaceConfig())
    assert clean.bridges[-1] or not clean.points[-1]
    assert not clean.triangles[-1] and clean.triangles[:-1].mean() > 0.995


def test_bends_of_a_coarse_mesh_are_no_noise(face):
    points = face.scan(7.0).points
    assert clean_surface(points, face.scan(7.0).triangles, SurfaceConfig()).noise < 0.3


def test_a_lost_part_of_the_face_is_counted_and_remarked_on(face):
    scan = face.scan(1.5)
    near = np.hypot(*(scan.points[:, :2] - (25, -40)).T) < 20
    points = scan.points.copy()
    points[near, 2] += np.random.default_rng(0).uniform(-30, 30, near.sum())
    inner = scipy.spatial.ConvexHull(np.stack(list(scan.landmarks.values()))[:, :2])
    share = np.pi * 20**2 / (inner.volume + 20 * inner.area + np.pi * 20**2)  # of the hull grown by 20 mm (Steiner)
    assert preprocess(scan).remarks == ()
    maps = preprocess(dataclasses.replace(scan, points=points, remarks=("of the reader",)))
    assert maps.remarks[0] == "of the reader" and "more than 5% of the inner face" in maps.remarks[1]
    assert maps.quality["inner_lost"] == pytest.approx(share, rel=0.35)
    assert maps.quality["bridges"] >= 0 and maps.quality["bridge_area"] >= 0
