"""A data set whose maps stay in files: the same as in memory, written once, and anew where they are damaged."""

import dataclasses

import numpy as np
import pytest

from afnet_jax.atomic_files import write_arrays_atomically
from afnet_jax.config import default_config
from afnet_jax.datasets import builder, loading, map_files
from afnet_jax.datasets.builder import write_dataset
from afnet_jax.datasets.digests import write_digests
from afnet_jax.datasets.loading import load
from afnet_jax.datasets.records import VERSION, record_of
from afnet_jax.errors import DatasetError
from afnet_jax.maps import INPUT_MAPS
from afnet_jax.scans import find_scans, read_scan
from afnet_jax.scans.databases import DATABASES
from tests.support.quick_preprocessing import quick_maps

MODALITIES = ("texture", "depth", "normals")


@pytest.fixture
def settings(raw, tmp_path, monkeypatch):
    """config.dataset of 12 prepared scans in three files, which hold them in another order than that of scan ids."""
    monkeypatch.setattr(builder, "SCANS_PER_SHARD", 5)
    (tmp_path / "finished").mkdir()
    for index, (_, path) in enumerate(find_scans("bu3dfe", raw)):
        maps = quick_maps(read_scan(path))
        maps.depth[100 + index] += index  # no two alike
        write_arrays_atomically(tmp_path / "finished" / f"{-index % 7}-{maps.id.name}.npz", record_of(maps))
    write_digests(write_dataset(DATABASES["bu3dfe"], tmp_path / "finished", tmp_path), "source")
    config = default_config()
    with config.unlocked():
        config.dataset.update(name="bu3dfe", data_dir=str(tmp_path), image_size=32, placement="stream", levels=(4,))
    return config.dataset


def _files(settings):
    return list(map_files.Path(settings.data_dir).glob(".maps/bu3dfe/*/*.npy"))


def test_files_hold_what_memory_does(settings, monkeypatch):
    streamed = load(settings, MODALITIES)
    assert streamed.streamed and all(isinstance(each, np.memmap) for each in streamed.maps)
    monkeypatch.setattr(loading, "_reduced", None)  # the second time nothing is decoded
    again = load(settings, MODALITIES)
    monkeypatch.undo()
    settings.placement = "memory"
    inside = load(settings, MODALITIES)
    assert not inside.streamed and len(inside.labels) == 6
    for other in (streamed, again):
        assert other.digest == inside.digest
        for field in dataclasses.fields(inside):
            if field.name not in ("maps", "streamed"):
                np.testing.assert_array_equal(getattr(other, field.name), getattr(inside, field.name))
        for name in INPUT_MAPS:
            np.testing.assert_array_equal(getattr(other.maps, name), getattr(inside.maps, name), err_msg=name)


def test_damaged_and_outdated_files_are_written_anew(settings, capsys):
    digest = load(settings).digest
    path = next(path for path in _files(settings) if path.name == "depth.npy")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert load(settings).digest == digest and path.read_bytes() != content
    folder = map_files.Path(settings.data_dir) / "bu3dfe" / VERSION
    write_digests(folder, "another source")
    assert load(settings).digest == digest
    assert not path.exists() and len(_files(settings)) == 4
    settings.levels = (3, 4)
    assert len(load(settings).labels) == 12 and len(_files(settings)) == 8


def test_by_itself_it_streams_what_has_no_room(settings):
    settings.placement = "auto"
    whole = 12 * map_files.scan_bytes(32, ())
    assert whole == 12 * (32 * 32 * 5 + 8 * 8 * 2 + 4 * 4 * 2)
    assert not load(settings).streamed and not load(settings, room=whole).streamed
    assert load(settings, room=whole - 1).streamed


def test_a_full_disk_is_told_and_leaves_nothing(settings, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(map_files, "_write_header", full)
    with pytest.raises(DatasetError, match=r"maps of 6 scans cannot be written .*No space left.*placement=memory"):
        load(settings)
    assert not list(map_files.Path(settings.data_dir).glob(".maps/bu3dfe/*"))
