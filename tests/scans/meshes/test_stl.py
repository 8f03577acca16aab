"""STL files that are damaged."""

import pytest

from afnet_jax.scans import ScanError, read_scan
from tests.support import mesh_files


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (mesh_files.stl()[:-1], "no whole STL file|cut short"),
        (mesh_files.stl().replace(b"solid", b"other", 1)[:-7], "no whole STL file"),
        (mesh_files.stl("ascii")[:-20], "endsolid"),
        (mesh_files.stl("ascii").replace(b"vertex", b"vortex", 1), "expected three in each"),
        (mesh_files.stl("ascii").replace(b"endfacet", b"", 1), "expected three in each"),
        (b"solid x\nendsolid x\n", "0 triangles"),
        (b"\0" * 84, "0 triangles"),
    ],
)
def test_faults_are_told(tmp_path, data, reason):
    path = tmp_path / "a.stl"
    path.write_bytes(data)
    with pytest.raises(ScanError, match=reason) as error:
        read_scan(path)
    assert "\n" not in str(error.value)
