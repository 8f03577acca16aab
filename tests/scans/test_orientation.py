"""Triangles that run the wrong way round and pictures that are looked up mirrored."""

import dataclasses

import numpy as np
import pytest

from afnet_jax.scans import read_scan
from afnet_jax.scans.orientation import clockwise_share, mirrored_share
from afnet_jax.scans.validity import validated
from afnet_jax.synthetic import make_scan
from tests.support.mesh_files import write_coloured_obj


def turned(scan):
    return dataclasses.replace(scan, triangles=scan.triangles[:, ::-1], uv_triangles=scan.uv_triangles[:, ::-1])


@pytest.fixture(scope="module", params=["bu3dfe", "bosphorus"])
def face(request):
    level = 3 if request.param == "bu3dfe" else None
    return make_scan(0, "SU", level, database=request.param, seed=1)[0]


def test_a_face_as_it_should_be(face):
    assert validated(face).remarks == ()
    assert clockwise_share(face.points, face.triangles) < 0.1
    assert mirrored_share(face.points, face.triangles, face.uv, face.uv_triangles) < 0.1


def test_clockwise_triangles_are_turned_round_and_said(face):
    again = validated(turned(face))
    np.testing.assert_array_equal(again.triangles, validated(face).triangles)
    np.testing.assert_array_equal(again.uv_triangles, validated(face).uv_triangles)
    (remark,) = again.remarks
    assert "clockwise" in remark and "turned round" in remark


def test_a_closed_head_shows_its_front(dome):
    """The back of the head, its triangles rightly away from the camera, outnumbers the face."""
    back = dome.points * (1, 1, -1) - (0, 0, 1)
    points = np.concatenate([dome.points, back, back - (0, 0, 1)])
    count = len(dome.points)
    outwards = dome.triangles[:, ::-1]
    triangles = np.concatenate([dome.triangles, outwards + count, outwards + 2 * count])
    assert clockwise_share(points, triangles) < 0.05
    assert clockwise_share(points, triangles[:, ::-1]) > 0.95


def test_both_ways_round_is_remarked_on(dome):
    triangles = dome.triangles.copy()
    triangles[::3] = triangles[::3, ::-1]
    (remark,) = validated(dataclasses.replace(dome, triangles=triangles, uv_triangles=triangles)).remarks
    assert "both ways round" in remark


@pytest.mark.parametrize("axis", [0, 1])
def test_a_mirrored_picture_is_remarked_on_however_the_chart_is_turned(face, axis):
    uv = face.uv.copy()
    uv[:, axis] = 1 - uv[:, axis]
    quarter = np.stack([1 - face.uv[:, 1], face.uv[:, 0]], axis=1)
    for turns, expected in ((uv, 1), (np.stack([1 - uv[:, 1], uv[:, 0]], axis=1), 1), (quarter, 0), (1 - face.uv, 0)):
        remarks = validated(dataclasses.replace(face, uv=turns)).remarks
        assert len(remarks) == expected and all("mirrored or upside down" in remark for remark in remarks)


def test_remarks_of_the_reader_stay(dome):
    assert len(validated(dataclasses.replace(turned(dome), remarks=("of the reader",))).remarks) == 2


def test_what_was_remarked_on_before_is_not_remarked_on_again(face):
    """A scan is checked anew once landmarks are found on it; `afnet prepare` counts the scans of each remark."""
    mirrored = validated(dataclasses.replace(face, uv=face.uv * (1, -1) + (0, 1)))
    assert len(mirrored.remarks) == 1
    assert validated(mirrored).remarks == mirrored.remarks


def test_colours_of_points_are_no_picture_that_could_be_mirrored(tmp_path, face):
    """Triangles that run clockwise are turned only once landmarks tell the front: their paint turns along."""
    write_coloured_obj(tmp_path / "face.obj", turned(face))
    (tmp_path / "face.landmarks.json").unlink()
    scan = read_scan(tmp_path / "face.obj")
    (remark,) = validated(dataclasses.replace(scan, landmarks=face.landmarks)).remarks
    assert "turned round" in remark


def test_flanks_of_spikes_are_not_the_surface(face):
    rng = np.random.default_rng(0)
    points = face.points.copy()
    points[rng.choice(len(points), len(points) // 100, replace=False), 2] += 300
    scan = dataclasses.replace(face, points=points, landmarks={})
    assert clockwise_share(points, face.triangles) < 0.1
    assert validated(scan).remarks == ()


def test_how_to_turn_a_picture_is_told_as_the_file_counts(tmp_path, face):
    flipped = dataclasses.replace(face, uv=face.uv * (1, -1) + (0, 1))
    (of_reader,) = validated(flipped).remarks
    (of_mesh,) = validated(dataclasses.replace(flipped, frontal=False)).remarks
    assert "v counts from the picture's top" in of_reader and "turn v into 1 - v in the mesh" in of_mesh
