"""Damaged files of every kind that a reader opens."""

import pytest

from benchmarks.fuzz_readers import fuzz


@pytest.mark.slow
def test_damaged_files_are_read_or_refused_and_nothing_else():
    tallies = fuzz(mutations=100, seed=1, groups=("databases", "weights"))
    assert set(tallies) - {".pth"} == {".wrl", ".bnd", ".bmp", ".bnt", ".lm3", ".png", ".safetensors"}
    for suffix, tally in tallies.items():
        assert not tally.crashes, (suffix, tally.crashes[:3])
        assert tally.read + tally.refused == 100 and tally.refused > 30
        assert tally.bytes < 8 * 2**20, suffix


def test_damaged_meshes_are_read_or_refused_and_nothing_else():
    tallies = fuzz(mutations=12, seed=1, groups=("meshes",))
    assert len(tallies) == 13 and sum(tally.read + tally.refused for tally in tallies.values()) == 13 * 12
    for kind, tally in tallies.items():
        assert not tally.crashes, (kind, tally.crashes[:3])
        assert tally.bytes < 16 * 2**20, kind
    assert sum(tally.refused for tally in tallies.values()) > 6 * 12
