import hashlib
import json

import pytest

from afnet_jax.datasets.digests import read_source, verify, write_digests
from afnet_jax.errors import DatasetError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.array_record").write_bytes(bytes(range(256)) * 40)
    (tmp_path / "features.json").write_text("{}")
    write_digests(tmp_path, "of these scans")
    return tmp_path


def test_untouched_files_pass(folder):
    verify(folder)
    verify(str(folder))
    assert read_source(folder) == "of these scans"
    stored = json.loads((folder / "digests.json").read_text())["sha256"]
    assert stored["a.array_record"] == hashlib.sha256(bytes(range(256)) * 40).hexdigest()


def test_every_flipped_bit_is_noticed(folder):
    path = folder / "a.array_record"
    whole = path.read_bytes()
    for position in range(0, len(whole), 997):
        data = bytearray(whole)
        data[position] ^= 1 << (position % 8)
        path.write_bytes(data)
        with pytest.raises(DatasetError, match=r"a.array_record is damaged"):
            verify(folder)


def test_lost_added_and_unreadable_files_are_noticed(folder):
    (folder / "b.array_record").touch()
    with pytest.raises(DatasetError, match=r"b.array_record is no file of this data set"):
        verify(folder)
    (folder / "b.array_record").unlink()
    (folder / "features.json").unlink()
    with pytest.raises(DatasetError, match=r"features.json is missing; prepare"):
        verify(folder)
    for text in ("", "{}", "[]", '{"sha256": 3, "source": ""}', '{"sha256": {}'):
        (folder / "digests.json").write_text(text)
        with pytest.raises(DatasetError, match="damaged, expected the digests"):
            verify(folder)


def test_says_how_to_make_a_data_set_that_is_not_there(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(DatasetError, match=r"no prepared data set here; make it with afnet prepare"):
            verify(folder)
