"""Raw points of a data set: sampled, stored, loaded as clouds; and data sets of the version that holds none."""

import dataclasses

import numpy as np
import pytest
from scipy.spatial import cKDTree

from afnet_jax.config import default_config
from afnet_jax.datasets import builder, digests
from afnet_jax.datasets.loading import load
from afnet_jax.datasets.preparation import prepare
from afnet_jax.datasets.records import EARLIER, VERSION, dataset_folder, prepared_names
from afnet_jax.errors import DatasetError
from afnet_jax.geometry.alignment import to_canonical
from afnet_jax.points.clouds import cloud_shapes
from afnet_jax.preprocessing.point_sample import POINTS, sample_points
from afnet_jax.quality.inspection import find_dataset
from afnet_jax.scans import find_scans, read_scan
from afnet_jax.synthetic import make_scan
from tests.support.quick_preprocessing import quick_maps


def settings(data_dir, source="points"):
    config = default_config()
    with config.unlocked():
        config.dataset.update(name="bu3dfe", data_dir=str(data_dir), image_size=32, input=source)
    return config.dataset


@pytest.fixture
def prepared(raw, tmp_path):
    prepare("bu3dfe", raw, tmp_path / "data", workers=1, preprocess=quick_maps)
    return tmp_path / "data"


@pytest.fixture
def earlier(raw, tmp_path, monkeypatch):
    """A data set as version 1.0.0 of the records had it."""

    def features():
        fields = dict(whole())
        return builder.tfds.features.FeaturesDict(
            {name: each for name, each in fields.items() if name not in ("points", "colours", "centre")}
        )

    whole = builder.features
    with monkeypatch.context() as patch:
        patch.setattr(builder, "features", features)
        patch.setattr(builder.FaceMapsBuilder, "VERSION", builder.tfds.core.Version(EARLIER[0]))
        patch.setattr(builder, "PICTURES", ("texture",))
        load_whole = builder.load_record
        patch.setattr(
            builder,
            "load_record",
            lambda path: {n: v for n, v in load_whole(path).items() if n not in ("points", "colours", "centre")},
        )
        written = prepare("bu3dfe", raw, tmp_path / "data", workers=1, preprocess=quick_maps).folder
    written.rename(written.with_name(EARLIER[0]))
    return tmp_path / "data"


@pytest.mark.slow
def test_clouds_are_the_points_of_the_records(prepared, raw):
    data = load(settings(prepared))
    for found, expected in zip(data.clouds, cloud_shapes(12), strict=True):
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    assert data.faces.maps is data.clouds
    for index, (_, path) in enumerate(find_scans("bu3dfe", raw)):
        maps = quick_maps(read_scan(path))
        # In another order, always the same; where the scan's points are is what the pose says.
        mine = np.concatenate([maps.points.points, maps.points.colours], axis=1)
        theirs = np.concatenate([data.clouds.points[index], data.clouds.colours[index]], axis=1)
        np.testing.assert_array_equal(mine[np.lexsort(mine.T)], theirs[np.lexsort(theirs.T)])
        place = maps.points.points[7].astype(float) + maps.points.centre
        cloud_place = data.clouds.rotation[index] @ maps.points.points[7].astype(float) + data.clouds.offset[index]
        np.testing.assert_allclose(cloud_place, to_canonical(place, maps.to_scan), rtol=1e-4, atol=1e-3)
        assert np.isnan(data.clouds.landmarks[index]).all(axis=1).sum() == 21


@pytest.mark.slow
def test_maps_of_a_data_set_of_points_are_the_rendered_ones(prepared):
    points, maps = load(settings(prepared)), load(settings(prepared, "maps"))
    assert maps.clouds is None and maps.faces.maps is maps.maps
    for one, other in zip(points.maps, maps.maps, strict=True):
        assert other is None or (one.shape, one.dtype) == (other.shape, other.dtype)
    assert points.digest != maps.digest
    changed = points.clouds._replace(colours=points.clouds.colours + 1)
    assert dataclasses.replace(points, clouds=changed).digest != points.digest


def test_a_data_set_of_the_version_before_still_opens(earlier):
    assert dataset_folder(earlier, "bu3dfe").name == "1.0.0" and prepared_names(earlier) == ["bu3dfe"]
    assert find_dataset(earlier).name == "1.0.0"
    data = load(settings(earlier, "maps"))
    assert len(data.labels) == 12
    streamed = settings(earlier, "maps")
    with streamed.unlocked():
        streamed.placement = "stream"
    assert load(streamed).digest == data.digest
    with pytest.raises(DatasetError) as fault:
        load(settings(earlier))
    told = str(fault.value)
    assert "holds no raw points" in told and "afnet prepare" in told and "\n" not in told


def test_preparing_again_puts_the_new_version_in_its_place(earlier, raw):
    before = load(settings(earlier, "maps"))
    folder = prepare("bu3dfe", raw, earlier, workers=1, preprocess=quick_maps).folder
    assert folder.name == VERSION and [path.name for path in folder.parent.iterdir()] == [VERSION]
    digests.verify(folder)
    assert load(settings(earlier)).clouds is not None
    assert load(settings(earlier, "maps")).digest == before.digest  # what was learned from maps is the same


@pytest.fixture(scope="module", params=["bosphorus", "bu3dfe"])
def scan(request):
    return make_scan(0, "HA", 4 if request.param == "bu3dfe" else None, database=request.param, seed=0)[0]


def test_points_are_the_scans_own_and_evenly_spread(scan):
    kept = np.ones(len(scan.triangles), bool)
    sample = sample_points(scan, kept, np.eye(4))
    again = sample_points(scan, kept, np.eye(4))
    np.testing.assert_array_equal(sample.points, again.points)
    np.testing.assert_array_equal(sample.colours, again.colours)
    places = sample.points.astype(float) + sample.centre
    assert np.isfinite(places).all() and len(places) == POINTS
    near = cKDTree(scan.points).query(places)[0]
    inside = ((scan.points > (-135, -160, -105)) & (scan.points < (135, 105, 95))).all(1)
    if inside.sum() > POINTS:
        assert near.max() < 0.12  # float16, but none between the scan's points
        density = cKDTree(places[:, :2]).query(places[:, :2], k=2)[0][:, 1]
        assert np.quantile(density, 0.95) < 3 * np.median(density)
    else:  # every point of the scan, and others on its triangles
        assert cKDTree(places).query(scan.points[inside])[0].max() < 0.12
        assert 0.3 < np.median(near[near > 0.12]) < 2


def test_triangles_that_cleaning_dropped_give_no_points(scan):
    kept = scan.points[scan.triangles].mean(1)[:, 0] > 0
    sample = sample_points(scan, kept, np.eye(4))
    places = sample.points.astype(float) + sample.centre
    own = cKDTree(scan.points).query(places)[0] < 0.12
    assert (places[~own][:, 0] > -2).all()


def test_colours_are_those_of_the_texture(scan):
    """A texture that is its own coordinates tells where each colour was read."""
    height, width = scan.texture.shape[:2]
    rows, cols = np.mgrid[0:height, 0:width]
    texture = np.stack([cols * 255 / width, rows * 255 / height, np.zeros_like(rows)], -1).astype(np.uint8)
    sample = sample_points(dataclasses.replace(scan, texture=texture), np.ones(len(scan.triangles), bool), np.eye(4))
    near, index = cKDTree(scan.points).query(sample.points.astype(float) + sample.centre)
    corner = np.full(len(scan.points), -1)
    corner[scan.triangles] = scan.uv_triangles
    expected = scan.uv[corner[index]] * 255
    own = near < 0.05
    error = np.abs(sample.colours[own][:, :2] - expected[own]).max(1)
    assert np.median(error) < 2.5 and np.quantile(error, 0.97) < 12


def test_large_triangles_of_a_fine_mesh_give_points(face):
    """Half a face of more points than are kept, half of triangles of 6 mm: each half has its share."""
    fine, coarse = face.scan(0.5), face.scan(6.0)
    upper = fine.points[fine.triangles].mean(axis=1)[:, 1] > 0
    lower = coarse.points[coarse.triangles].mean(axis=1)[:, 1] <= 0
    triangles = np.vstack([fine.triangles[upper], coarse.triangles[lower] + len(fine.points)]).astype(np.int32)
    points, uv = np.vstack([fine.points, coarse.points]), np.vstack([fine.uv, coarse.uv])
    scan = dataclasses.replace(fine, points=points, triangles=triangles, uv=uv, uv_triangles=triangles)
    sample = sample_points(scan, np.ones(len(triangles), bool), np.eye(4))
    assert (sample.points[:, 1] + sample.centre[1] < 0).mean() > 0.4
