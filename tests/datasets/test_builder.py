import dataclasses
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import tensorflow_datasets as tfds

from afnet_jax.atomic_files import write_arrays_atomically
from afnet_jax.config import default_config
from afnet_jax.datasets import builder
from afnet_jax.datasets.builder import SPLIT, builder_of, read_records, write_dataset
from afnet_jax.datasets.digests import write_digests
from afnet_jax.datasets.loading import load
from afnet_jax.datasets.records import VERSION, record_of
from afnet_jax.errors import DatasetError
from afnet_jax.scans import EXPRESSIONS, find_scans, read_scan
from afnet_jax.scans.databases import DATABASES
from afnet_jax.scans.scan import LANDMARKS
from tests.support.quick_preprocessing import quick_maps


@pytest.fixture
def maps(raw):
    return [quick_maps(read_scan(path)) for _, path in find_scans("bu3dfe", raw)]


def test_records_come_back_in_order_and_exactly(maps, tmp_path, capsys):
    (tmp_path / "finished").mkdir()
    for each in reversed(maps):
        write_arrays_atomically(tmp_path / "finished" / f"{each.id.name}.npz", record_of(each))
    folder = write_dataset(DATABASES["bu3dfe"], tmp_path / "finished", tmp_path / "data")
    assert folder == tmp_path / "data" / "bu3dfe" / VERSION and not capsys.readouterr().out
    source = tfds.builder_from_directory(folder).as_data_source(split=SPLIT)
    assert len(source) == len(maps) == 12
    for each, example in zip(maps, source, strict=True):
        np.testing.assert_array_equal(example["texture"], each.texture)
        np.testing.assert_array_equal(example["depth"], each.depth)
        np.testing.assert_array_equal(example["mask56"], each.masks[56])
        np.testing.assert_array_equal(example["mask28"], each.masks[28])
        np.testing.assert_array_equal(example["points"], each.points.points)
        np.testing.assert_array_equal(example["colours"].reshape(-1, 3), each.points.colours)
        np.testing.assert_array_equal(example["centre"], each.points.centre)
        np.testing.assert_array_equal(example["to_scan"], each.to_scan)  # to the last bit of float64
        assert (example["mm_per_pixel"], tuple(example["origin"])) == (each.mm_per_pixel, each.origin)
        assert example["scan_id"].decode() == each.id.name and example["subject"] == b"F0001"
        assert (example["label"], example["level"]) == (each.id.label, each.id.level)
        assert (example["ethnicity"], example["sex"]) == (b"WH", b"F")


def test_a_large_data_set_has_several_files_in_one_order(maps, tmp_path, monkeypatch):
    """12 scans, at most 5 of them in a file."""
    (tmp_path / "finished").mkdir()
    for each in maps:
        write_arrays_atomically(tmp_path / "finished" / f"{each.id.name}.npz", record_of(each))
    monkeypatch.setattr(builder, "SCANS_PER_SHARD", 5)
    folder = write_dataset(DATABASES["bu3dfe"], tmp_path / "finished", tmp_path / "data")
    assert sorted(path.name for path in folder.glob("*record*")) == [
        f"bu3dfe-scans.array_record-{shard:05d}-of-00003" for shard in range(3)
    ]
    assert tfds.builder_from_directory(folder).info.splits[SPLIT].shard_lengths == [5, 5, 2]
    assert [example["scan_id"].decode() for example in read_records(folder)] == sorted(each.id.name for each in maps)


@pytest.mark.slow
def test_writing_takes_no_more_memory_for_more_scans(maps, tmp_path, monkeypatch):
    """A record takes 0.2 MB and more; 40 and 160 of them, which are copies, in files of 8."""
    monkeypatch.setattr(builder, "SCANS_PER_SHARD", 8)
    write_arrays_atomically(tmp_path / "one.npz", record_of(maps[0]))
    peaks = []
    for count in (1, 40, 160):  # the first imports what is imported late
        (finished := tmp_path / f"finished-{count}").mkdir()
        for copy in range(count):
            (finished / f"{copy:03d}.npz").hardlink_to(tmp_path / "one.npz")
        tracemalloc.start()
        write_dataset(DATABASES["bu3dfe"], finished, tmp_path / f"data-{count}")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < peaks[1] + 1e6


def test_landmarks_are_loaded_in_their_order_and_enter_no_digest(maps, tmp_path):
    """Runs go on with the data sets they were begun with: what a network does not see is not in their digest."""
    (tmp_path / "finished").mkdir()
    absent, found = maps[0].id.name, maps[1].id.name
    for index, each in enumerate(maps):
        each.landmarks.update({name: np.array([index, k, 0.1]) for k, name in enumerate(LANDMARKS)})
    maps[0].landmarks.pop("nose_tip")
    maps[1].quality["landmarks"] = "found"
    for each in maps:
        write_arrays_atomically(tmp_path / "finished" / f"{each.id.name}.npz", record_of(each))
    write_digests(write_dataset(DATABASES["bu3dfe"], tmp_path / "finished", tmp_path), "source")
    config = default_config()
    with config.unlocked():
        config.dataset.update(name="bu3dfe", data_dir=str(tmp_path), image_size=32)
    data = load(config.dataset)
    assert data.landmarks.shape == (12, len(LANDMARKS), 3) and data.landmarks.dtype == np.float64
    of_scan = dict(zip(data.scan_ids.tolist(), data.landmarks, strict=True))
    for each in maps:
        for name, place in zip(LANDMARKS, of_scan[each.id.name], strict=True):
            np.testing.assert_array_equal(place, each.landmarks.get(name, np.full(3, np.nan)))
    assert np.isnan(of_scan[absent][LANDMARKS.index("nose_tip")]).all()
    assert data.scan_ids[data.landmarks_found].tolist() == [found]
    assert data.digest == dataclasses.replace(data, landmarks=None, landmarks_found=None).digest


def test_every_database_has_a_builder_of_its_name(tmp_path):
    for name, database in DATABASES.items():
        info = builder_of(database)(data_dir=tmp_path, file_format="array_record").info
        assert info.name == name and tuple(info.features["label"].names) == EXPRESSIONS
        assert info.description and info.disable_shuffling


def test_tensorflow_is_never_imported():
    code = "import sys, afnet_jax.datasets.builder; assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=600)


def test_a_disk_that_is_full_is_told_in_one_line(tmp_path, monkeypatch):
    def fails(self, **_):
        raise RuntimeError("write() failed: No space left on device")

    monkeypatch.setattr("tensorflow_datasets.core.dataset_builder.DatasetBuilder.download_and_prepare", fails)
    with pytest.raises(DatasetError, match=r"cannot be written \(.*No space left on device\); make room"):
        write_dataset(DATABASES["bu3dfe"], tmp_path, tmp_path / "data")
