"""Whose landmarks preprocessing takes."""

import dataclasses
import json

import numpy as np
import pytest

from afnet_jax.datasets.records import record_of
from afnet_jax.preprocessing import preprocess
from afnet_jax.preprocessing.choice import CHOICES
from afnet_jax.preprocessing.pipeline import preprocess_given
from afnet_jax.scans.scan import ScanError
from afnet_jax.synthetic import make_scan


@pytest.fixture(scope="module")
def scan():
    return make_scan(3, "HA", None, database="bosphorus", seed=77)[0]


@pytest.fixture(scope="module")
def found(scan):
    return preprocess(dataclasses.replace(scan, landmarks={}))


def test_given_landmarks_are_taken(scan):
    maps, plain = preprocess(scan), preprocess_given(scan)
    assert maps.quality["landmarks"] == "given"
    assert np.array_equal(maps.depth, plain.depth, equal_nan=True) and np.array_equal(maps.texture, plain.texture)


def test_landmarks_are_found_where_there_are_none(scan, found):
    assert found.quality["landmarks"] == "found" and 0.3 < found.quality["landmark_confidence"] <= 1
    plain = preprocess(scan)
    both = found.valid & plain.valid
    assert both.sum() > 0.9 * plain.valid.sum()
    assert np.median(np.abs(found.depth - plain.depth)[both]) < 2.5
    first, second = found.masks[56] > 0.5, plain.masks[56] > 0.5
    assert (first & second).sum() > 0.7 * (first | second).sum()


def test_found_ones_replace_given_ones_where_asked(scan, found):
    assert np.array_equal(CHOICES["found"](scan).depth, found.depth, equal_nan=True)


def test_given_alone_refuses_a_scan_without(scan):
    with pytest.raises(ScanError, match="no landmarks"):
        CHOICES["given"](dataclasses.replace(scan, landmarks={}))


def test_what_was_found_stays_with_the_record(found):
    quality = json.loads(str(record_of(found)["quality"]))
    assert quality["landmarks"] == "found" and quality["landmark_confidence"] == found.quality["landmark_confidence"]


def test_a_mesh_of_unknown_unit_wound_the_other_way_becomes_a_face_in_mm(scan):
    """A face at 0.7 of its size, as where a head with shoulders was taken for a head alone."""
    small = dataclasses.replace(
        scan,
        points=0.7 * scan.points,
        triangles=scan.triangles[:, ::-1],
        uv_triangles=scan.uv_triangles[:, ::-1],
        landmarks={},
        frontal=False,
        grid=None,
    )
    maps = preprocess(small)
    assert any("scaled to an adult's size" in remark for remark in maps.remarks)
    assert maps.valid.mean() > 0.2


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["chin", "forehead"])
def test_a_scan_whose_surface_ends_early_is_posed_by_what_is_there(scan, lost):
    """A beard, or a fringe: landmarks found where nothing was scanned are left out."""
    at = np.stack(list(scan.landmarks.values()))
    high, low = scan.landmarks["right_brow_middle"][1], at[:, 1].min()
    heights = scan.points[scan.triangles].mean(axis=1)[:, 1]
    kept = heights > low + 20 if lost == "chin" else heights < high - 8
    cropped = dataclasses.replace(
        scan, triangles=scan.triangles[kept], uv_triangles=scan.uv_triangles[kept], landmarks={}, grid=None
    )
    used = np.unique(cropped.triangles)
    index = np.cumsum(np.isin(np.arange(len(scan.points)), used)) - 1
    cropped = dataclasses.replace(cropped, points=scan.points[used], triangles=index[cropped.triangles])
    maps, whole = preprocess(cropped), preprocess(scan)
    assert any("with little confidence" in remark for remark in maps.remarks)
    both = maps.valid & whole.valid
    assert np.median(np.abs(maps.depth - whole.depth)[both]) < 1.5


@pytest.mark.parametrize(
    ("one", "other"),
    [("upper_lip_outer", "lower_lip_outer"), ("mouth_left", "mouth_right"), ("left_eye_outer", "left_eye_inner")],
)
def test_exchanged_landmarks_are_remarked_on(scan, one, other):
    landmarks = {**scan.landmarks, one: scan.landmarks[other], other: scan.landmarks[one]}
    (remark,) = set(preprocess(dataclasses.replace(scan, landmarks=landmarks)).remarks) - set(scan.remarks)
    assert remark.startswith("landmarks far from where a face has them") and one in remark and other in remark
    assert not any("far from" in remark for remark in preprocess(scan).remarks)


def test_a_large_hole_is_remarked_on(scan):
    tip = scan.landmarks["nose_tip"]
    cut = (np.linalg.norm(scan.points[scan.triangles] - tip, axis=2) > 32).all(axis=1)
    kept = {name: at for name, at in scan.landmarks.items() if "nose" not in name}
    holed = dataclasses.replace(
        scan, triangles=scan.triangles[cut], uv_triangles=scan.uv_triangles[cut], landmarks=kept, grid=None
    )
    maps = preprocess(holed)
    assert maps.quality["filled"] > 0.12
    assert any("of the face is filled in, as the scan has no surface there" in remark for remark in maps.remarks)
