"""The data set of varied subjects: drawn once, resumed, loaded in order, refused where it is damaged."""

import numpy as np
import pytest
import scipy.ndimage

from afnet_jax.config import default_config
from afnet_jax.datasets import varied_set
from afnet_jax.datasets.loading import load
from afnet_jax.datasets.varied_maps import draw_faces
from afnet_jax.errors import DatasetError
from afnet_jax.maps import INPUT_MAPS
from tests.support.one_thread import one_thread

SIZE = 32


@pytest.fixture(scope="module")
def faces():
    return draw_faces(0, 0, SIZE)


def test_a_face_is_like_one_that_preprocessing_draws(faces):
    for face in faces:
        for name, each in INPUT_MAPS.items():
            if each.record:
                image = getattr(face.maps, name)
                assert image.shape == each.shape(SIZE) and image.dtype == each.dtype, name
        inside = np.isfinite(face.maps.depth[..., 0].astype(float))
        far = ~scipy.ndimage.binary_dilation(inside, iterations=2)
        assert 0.15 < inside.mean() < 0.6 and (face.maps.texture[far] == 0).all()
        assert np.abs(face.maps.depth[inside].astype(float)).max() < 120
        assert 0 < face.maps.mask1.mean() < 0.5 and face.maps.mask1.max() <= 1


def test_landmarks_lie_on_the_surface(faces):
    """Of a pixel of 7.3 mm the depth is a mean, and places at its steep flanks are off by some of them."""
    for face in faces:
        row = np.rint((90.5 - face.landmarks[:, 1]) / 7.35 - 0.5).astype(int).clip(0, SIZE - 1)
        col = np.rint((face.landmarks[:, 0] + 117.6) / 7.35 - 0.5).astype(int).clip(0, SIZE - 1)
        off = np.abs(face.maps.depth[row, col, 0].astype(float) - face.landmarks[:, 2])
        assert np.nanmedian(off) < 4


def test_the_same_arguments_give_the_same_faces(faces):
    for one, other in zip(faces, draw_faces(0, 0, SIZE), strict=True):
        np.testing.assert_array_equal(one.maps.texture, other.maps.texture)
        np.testing.assert_array_equal(one.maps.depth, other.maps.depth)


@pytest.mark.slow
def test_it_is_drawn_once_and_loaded_in_order(tmp_path, monkeypatch, faces):
    monkeypatch.setattr(varied_set, "_PER_FILE", 2)
    config = default_config().dataset
    with config.unlocked():
        config.update(name="synthetic", data_dir=str(tmp_path), image_size=SIZE)
        config.update(synthetic_subjects=3, synthetic_variety="wide")
    monkeypatch.setattr(varied_set, "worker_processes", one_thread)
    data = load(config)
    assert data.labels.tolist() == 3 * list(range(6)) and len(set(data.subjects)) == 3
    assert data.scan_ids.tolist() == sorted(data.scan_ids)
    assert load(config, room=1.0).streamed and not data.streamed
    np.testing.assert_array_equal(data.maps.texture[:6], np.stack([face.maps.texture for face in faces]))
    files = sorted(tmp_path.glob("varied-*/*.npz"))
    stamps = [file.stat().st_mtime_ns for file in files]
    assert len(files) == 2 and load(config).digest == data.digest
    assert [file.stat().st_mtime_ns for file in files] == stamps
    files[1].write_bytes(b"torn")
    with pytest.raises(DatasetError, match=r"faces-000002\.npz: damaged"):
        load(config)


def test_maps_that_are_computed_are_refused(tmp_path):
    config = default_config().dataset
    with config.unlocked():
        config.update(name="synthetic", data_dir=str(tmp_path), synthetic_variety="wide")
    with pytest.raises(DatasetError, match="has no normals"):
        load(config, ("texture", "normals"))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"subjects": null}'])
def test_a_damaged_record_of_what_was_drawn_is_told_with_the_remedy(tmp_path, text):
    (tmp_path / "finished.json").write_text(text, encoding="utf-8")
    with pytest.raises(DatasetError, match=r"finished\.json: damaged .*; remove .* and run again") as caught:
        varied_set.load_varied(tmp_path)
    assert "\n" not in str(caught.value)
