import dataclasses

import numpy as np
import pytest

from afnet_jax.scans import ScanError
from afnet_jax.scans.validity import validated


def replaced(array, index, value):
    array = array.copy()
    array[index] = value
    return array


@pytest.mark.parametrize("value", [np.nan, np.inf, 2e4])
def test_refuses_strange_points(dome, value):
    with pytest.raises(ScanError, match="coordinate is beyond"):
        validated(dataclasses.replace(dome, points=replaced(dome.points, (3, 1), value)))


def test_a_mesh_in_coordinates_of_a_map_is_to_be_moved(dome):
    shift = np.array([432_000.0, 5_800_000.0, 34_000.0])
    landmarks = {name: at + shift for name, at in dome.landmarks.items()}
    with pytest.raises(ScanError, match=r"beyond ±10000 mm .*; move the mesh to the origin"):
        validated(dataclasses.replace(dome, points=dome.points + shift, landmarks=landmarks))


@pytest.mark.parametrize("scale", [1 / 1000, 1 / 25.4, 25.4])
def test_refuses_other_units(dome, scale):
    landmarks = {name: at * scale for name, at in dome.landmarks.items()}
    with pytest.raises(ScanError, match="convert it to mm"):
        validated(dataclasses.replace(dome, points=dome.points * scale, landmarks=landmarks))


def test_a_spike_does_not_change_the_size_of_a_face(dome):
    assert validated(dataclasses.replace(dome, points=replaced(dome.points, (3, 1), 2000.0)))


@pytest.mark.parametrize("value", [np.nan, -0.2, 1.2])
def test_refuses_texture_points_outside(dome, value):
    with pytest.raises(ScanError, match="outside the picture"):
        validated(dataclasses.replace(dome, uv=replaced(dome.uv, (3, 1), value)))


def test_texture_points_just_outside_take_the_edge(dome):
    assert validated(dataclasses.replace(dome, uv=replaced(dome.uv, (3, 1), 1.01))).uv[3, 1] == 1


def test_leaves_out_triangles_without_area(dome):
    triangles = replaced(dome.triangles, (0, 1), dome.triangles[0, 0])
    scan = validated(dataclasses.replace(dome, triangles=triangles))
    np.testing.assert_array_equal(scan.triangles, dome.triangles[1:])
    np.testing.assert_array_equal(scan.uv_triangles, dome.uv_triangles[1:])
    with pytest.raises(ScanError, match="no triangle"):
        validated(dataclasses.replace(dome, triangles=np.zeros_like(triangles)))


def test_nearest_point_of_a_landmark_is_found_as_by_brute_force(dome):
    """A landmark is refused exactly when its nearest point is more than 10 mm off."""
    rng = np.random.default_rng(0)
    for at in rng.uniform(-80, 80, (50, 3)):
        scan = dataclasses.replace(dome, landmarks={"nose_tip": at})
        gap = np.linalg.norm(dome.points - at, axis=1).min()
        if gap <= 10:
            validated(scan)
        else:
            with pytest.raises(ScanError, match=f"nose_tip lies {gap:.0f} mm off the surface"):
                validated(scan)


@pytest.mark.parametrize("place", [(0, 0, 500), (np.nan, 0, 0), (1e300, 0, 0)])
def test_a_landmark_that_nothing_uses_costs_no_scan(dome, place):
    scan = validated(dataclasses.replace(dome, landmarks=dict(dome.landmarks) | {"ear": np.array(place)}))
    assert "ear" not in scan.landmarks and set(scan.landmarks) == set(dome.landmarks)
    assert scan.remarks == ("left out landmarks that lie off the surface and that nothing uses: ear",)
    with pytest.raises(ScanError, match="nose_tip"):
        validated(dataclasses.replace(dome, landmarks={"nose_tip": np.array(place)}))


def test_triangles_between_any_points_are_refused(dome):
    triangles = np.random.default_rng(0).integers(0, len(dome.points), (40 * len(dome.triangles), 3))
    scrambled = dataclasses.replace(dome, triangles=triangles, uv_triangles=triangles)
    with pytest.raises(ScanError, match="times as large as the box round them, expected a surface"):
        validated(scrambled)
