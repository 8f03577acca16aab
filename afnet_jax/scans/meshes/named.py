"""Files that a mesh names, found without reading the mesh: a data set follows them when they change."""

from __future__ import annotations

import re
from pathlib import Path

from afnet_jax.scans.files import with_suffix
from afnet_jax.scans.meshes.folder import named_file
from afnet_jax.scans.meshes.obj import picture_name
from afnet_jax.scans.meshes.surface import MeshError
from afnet_jax.scans.scan import ScanError

_HEAD = 2**16  # bytes, at whose beginning exporters name materials and pictures
_PLAIN = re.compile(rb"^[ \t]*(mtllib|map_Kd|comment[ \t]+TextureFile)[ \t]+([^\r\n]+)", re.MULTILINE | re.IGNORECASE)
_QUOTED = re.compile(rb'"uri"\s*:\s*"([^"]{1,1000})"')


def named_files(mesh: Path) -> list[Path]:
    """The materials, pictures and buffers that a mesh and its materials name in their first 64 KiB, where they are."""
    found: dict[Path, None] = {}
    waiting = [mesh, with_suffix(mesh, ".mtl")]
    while waiting:
        try:
            with open(waiting.pop(), "rb") as file:
                head = file.read(_HEAD)
        except OSError:  # its reader will say so
            continue
        names = [(name, False, keyword.lower() == b"map_kd") for keyword, name in _PLAIN.findall(head)]
        for name, quoted, options in [*names, *((name, True, False) for name in _QUOTED.findall(head))]:
            text = name.decode("utf-8", "replace").strip()
            try:
                file_named = named_file(mesh, picture_name(text) if options else text, "file", quoted=quoted)
            except (MeshError, ScanError, OSError):
                continue
            if file_named not in found and file_named.suffix.lower() == ".mtl":
                waiting.append(file_named)
            found[file_named] = None
    return list(found)
