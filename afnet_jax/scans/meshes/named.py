"""Files that a mesh names, found without reading the mesh: a data set follows them when they change."""

from __future__ import annotations

import re
from pathlib import Path

from afnet_jax.scans.files import with_suffix
from afnet_jax.scans.meshes.folder import libraries_in, named_file, picture_beside, text_of
from afnet_jax.scans.meshes.obj import picture_name
from afnet_jax.scans.meshes.reader import FORMATS
from afnet_jax.scans.meshes.surface import MeshError
from afnet_jax.scans.scan import ScanError

_HEAD = 2**16  # bytes, at whose beginning exporters name materials and pictures
_PLAIN = re.compile(rb"^[ \t]*(mtllib|map_Kd|comment[ \t]+TextureFile)[ \t]+([^\r\n]+)", re.MULTILINE | re.IGNORECASE)
_QUOTED = re.compile(rb'"uri"\s*:\s*"([^"]{1,1000})"')


def named_files(mesh: Path) -> list[Path]:
    """The materials, pictures and buffers that a mesh and its materials name in their first 64 KiB, where they are.

    The picture that a mesh without one takes from beside it is among them.
    """
    found: dict[Path, None] = {}
    waiting = [mesh, with_suffix(mesh, ".mtl")]
    while waiting:
        try:
            with open(waiting.pop(), "rb") as file:
                head = file.read(_HEAD)
        except OSError:  # its reader will say so
            continue
        names = [(name, False) for line in _PLAIN.findall(head) for name in _names_on(mesh, *line)]
        for name, quoted in [*names, *((text_of(name), True) for name in _QUOTED.findall(head))]:
            try:
                file_named = named_file(mesh, name, "file", quoted=quoted)
            except (MeshError, ScanError, OSError):
                continue
            if file_named not in found and file_named.suffix.lower() == ".mtl":
                waiting.append(file_named)
            found[file_named] = None
    if beside := picture_beside(mesh, FORMATS):
        found[beside] = None
    return list(found)


def _names_on(mesh: Path, keyword: bytes, rest: bytes) -> list[str]:
    text = text_of(rest).strip()
    if keyword.lower() == b"mtllib":
        return libraries_in(mesh, text)
    return [picture_name(text) if keyword.lower() == b"map_kd" else text]
