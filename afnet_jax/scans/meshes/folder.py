"""Files that a mesh file names: materials, pictures and buffers, found in its own folder or below it."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from urllib.parse import unquote

import numpy as np

from afnet_jax.scans import images
from afnet_jax.scans.files import beside, read_bytes, with_suffix
from afnet_jax.scans.meshes.surface import MeshError
from afnet_jax.scans.scan import ScanError

PICTURES = (".jpg", ".jpeg", ".png", ".bmp")


def named_file(mesh: Path, name: str, what: str, *, quoted: bool = False) -> Path:
    """Finds a file that a mesh file names.

    Exporters write paths of their own machine ("C:\\scans\\tex\\face.jpg"): the longest end of the path that leads to a
    file below the mesh's folder counts, the bare name beside the mesh last. Nothing outside the folder is ever opened.

    Args:
        mesh: the mesh file.
        name: as it stands in the file.
        what: the file's role, for the fault.
        quoted: the name is a URI, with %20 for a space.

    Raises:
        ScanError: there is no such file.
    """
    name = unquote(name) if quoted else name
    steps = [step for step in re.split(r"[/\\]", name.strip().strip('"')) if step not in ("", ".")]
    if not steps or not all(step.isprintable() for step in steps) or max(map(len, steps)) > 255:
        raise MeshError(f"the name of the {what} is {name[:80]!r}, expected that of a file in the same folder")
    climbs = max((place + 1 for place, step in enumerate(steps) if step == ".."), default=0)
    for first in range(climbs, len(steps) - 1):
        below = beside(mesh, steps[first])
        for step in steps[first + 1 :]:
            below = beside(below / mesh.name, step)
        if below.is_file() and below.parent.resolve().is_relative_to(mesh.parent.resolve()):
            return below  # itself perhaps a link that leads elsewhere, as stores of large files make them
    found = beside(mesh, steps[-1]) if steps[-1] != ".." else mesh.parent
    if not found.is_file():
        raise ScanError(mesh, f"the {what} {steps[-1][:80]} that it names is missing; put it beside the mesh")
    return found


def text_of(data: bytes) -> str:
    """The text of a line that holds a name: UTF-8, or else the code page of Western Windows."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def libraries_in(mesh: Path, text: str) -> list[str]:
    """The names on a line `mtllib`: one with the spaces that it holds, or several, as the format allows."""
    words = text.split()
    if len(words) > 1 and all(word.lower().endswith(".mtl") for word in words):
        with contextlib.suppress(MeshError, ScanError):
            named_file(mesh, text, "material file")
            return [text]
        return words
    return [text]


def read_named(mesh: Path, name: str, what: str, limit: int, *, quoted: bool = False) -> bytes:
    """Reads a file that a mesh file names, of at most `limit` bytes; see `named_file`."""
    return read_bytes(named_file(mesh, name, what, quoted=quoted), limit, what)


def read_picture(mesh: Path, name: str) -> np.ndarray:
    """Reads a picture that a mesh file names as (H, W, 3) uint8 RGB; see `named_file`."""
    return images.read_rgb(named_file(mesh, name, "texture picture"))


def picture_beside(mesh: Path, suffixes: tuple[str, ...]) -> Path | None:
    """The picture of a mesh that names none: of the same stem, or the only picture beside the only mesh.

    Args:
        mesh: the mesh file.
        suffixes: of mesh files.
    """
    for suffix in sorted(PICTURES):  # first of all, since a folder may hold thousands of files
        if (same := with_suffix(mesh, suffix)).is_file():
            return same
    try:
        files = sorted(each for each in mesh.parent.iterdir() if not each.name.startswith(".") and each.is_file())
    except OSError:
        return None
    pictures = [each for each in files if each.suffix.lower() in PICTURES]
    alone = sum(each.suffix.lower() in suffixes for each in files) == 1
    return pictures[0] if alone and len(pictures) == 1 else None
