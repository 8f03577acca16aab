"""The golden bytes are laid out by hand after the format's description (see the module's docstring)."""

import struct

import numpy as np
import pytest

from afnet_jax.scans import ScanError, bnt

ROWS, COLS, NAME = 2, 3, b"bs000_E_ANGER_0.png"
# x, y, z, u, v; point (0, 2) is background in the database's way, (1, 0) in a redistribution's.
PLANES = [
    [[1, 2, -1e9], [0, 5, 6]],
    [[-1, -2, -1e9], [0, -5, -6]],
    [[10, 20, -1e9], [0, 50, 60]],
    [[0.1, 0.2, 0.3], [0.1, 0.2, 0.3]],
    [[0.9, 0.9, 0.9], [0.4, 0.4, 0.4]],
]


def golden(rows=ROWS, cols=COLS, name=NAME, count=None, planes=PLANES) -> bytes:
    values = np.array(planes, "<f8").tobytes()
    head = struct.pack("<H", rows) + struct.pack("<H", cols) + struct.pack("<d", -1e9) + struct.pack("<H", len(name))
    return head + name + struct.pack("<I", 5 * rows * cols if count is None else count) + values


def read(tmp_path, data: bytes) -> bnt.RangeGrid:
    path = tmp_path / "a.bnt"
    path.write_bytes(data)
    return bnt.read_grid(path)


def test_reads_the_golden_file(tmp_path):
    grid = read(tmp_path, golden())
    np.testing.assert_array_equal(grid.surface, [[True, True, False], [False, True, True]])
    np.testing.assert_array_equal(grid.xyz[:, 1, 2], [6, -6, 60])
    np.testing.assert_array_equal(grid.xyz[:, 0, 0], [1, -1, 10])
    assert grid.u[0, 2] == 0.3 and grid.v[1, 0] == 0.4 and grid.picture == NAME.decode()


def test_writes_the_golden_file(tmp_path):
    grid = read(tmp_path, golden())
    bnt.write_grid(tmp_path / "b.bnt", grid)
    normal = [[[value if seen else -1e9 for value, seen in zip(row, mask, strict=True)] for row, mask in
               zip(plane, grid.surface, strict=True)] for plane in PLANES[:3]]  # fmt: skip
    assert (tmp_path / "b.bnt").read_bytes() == golden(planes=normal + PLANES[3:])


def test_not_a_number_is_no_surface(tmp_path):
    planes = np.array(PLANES)
    planes[2, 0, 0] = np.nan
    planes[0, 1, 2] = np.inf
    assert read(tmp_path, golden(planes=planes)).surface.sum() == 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (golden()[:10], "too few for its header"),
        (golden()[:30], "too few for its header"),
        (golden()[:-1], "cut short"),
        (golden() + b"\0", "cut short"),
        (golden(count=31), "not a .bnt range grid"),
        (golden(rows=60000, cols=60000, count=2**32 - 1), "60000×60000"),
        (golden(rows=3, count=30), "cut short"),
        (golden(rows=1, cols=6, count=30), "1×6"),
        (golden(rows=0, cols=0, count=0, planes=[]), "0×0"),
    ],
)
def test_refuses_counts_that_lie(tmp_path, data, message):
    with pytest.raises(ScanError, match=message) as caught:
        read(tmp_path, data)
    assert caught.value.path.name == "a.bnt" and "\n" not in str(caught.value)
