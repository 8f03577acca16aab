import dataclasses
import json

import numpy as np
import pytest

from afnet_jax.atomic_files import write_arrays_atomically
from afnet_jax.datasets.records import load_record, record_of
from afnet_jax.errors import DatasetError
from afnet_jax.scans.scan import LANDMARKS
from tests.support.quick_preprocessing import quick_maps


def test_saved_record_comes_back(surface, tmp_path):
    record = record_of(quick_maps(surface))
    write_arrays_atomically(tmp_path / "a.npz", record)
    back = load_record(tmp_path / "a.npz")
    assert list(back) == list(record) and [path.name for path in tmp_path.iterdir()] == ["a.npz"]
    for name, value in record.items():
        np.testing.assert_array_equal(back[name], value)


def test_record_holds_the_maps(surface):
    maps = quick_maps(surface)
    record = record_of(maps)
    assert (record["scan_id"], record["subject"], record["label"], record["level"]) == (
        "bs000_E_HAPPY_0",
        "bs000",
        3,
        0,
    )
    assert (record["ethnicity"], record["sex"], json.loads(str(record["quality"]))["holes"]) == ("", "", 0.125)
    present = np.isfinite(record["landmarks"]).all(axis=1)
    assert [name for name, here in zip(LANDMARKS, present, strict=True) if here] == ["chin"]
    np.testing.assert_array_equal(record["landmarks"][LANDMARKS.index("chin")], surface.landmarks["chin"])
    assert record["mm_per_pixel"] == maps.mm_per_pixel and tuple(record["origin"]) == maps.origin


def test_refuses_a_face_without_one_of_the_expressions(surface):
    maps = quick_maps(surface)
    neutral = dataclasses.replace(maps, id=dataclasses.replace(maps.id, expression="NE"))
    with pytest.raises(DatasetError, match="shows 'NE', expected one of AN, DI, FE, HA, SA, SU"):
        record_of(neutral)


def test_refuses_a_damaged_record(surface, tmp_path):
    path = tmp_path / "a.npz"
    write_arrays_atomically(path, record_of(quick_maps(surface)))
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 4
    for data in (whole[:-100], bytes(flipped), b"", b"no zip"):
        path.write_bytes(data)
        with pytest.raises(DatasetError, match="remove this file"):
            load_record(path)
