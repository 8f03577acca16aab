"""Damaged files of every kind that a reader opens."""

from benchmarks.fuzz_readers import fuzz


def test_damaged_files_are_read_or_refused_and_nothing_else():
    tallies = fuzz(mutations=100, seed=1)
    assert set(tallies) - {".pth"} == {".wrl", ".bnd", ".bmp", ".bnt", ".lm3", ".png", ".safetensors"}
    for suffix, tally in tallies.items():
        assert not tally.crashes, (suffix, tally.crashes[:3])
        assert tally.read + tally.refused == 100 and tally.refused > 30
        assert tally.bytes < 8 * 2**20, suffix
