"""Wavefront OBJ with its materials (Alias|Wavefront, Advanced Visualizer manual, appendices B1 and B2)."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from afnet_jax.scans.files import read_bytes, with_suffix
from afnet_jax.scans.meshes.folder import libraries_in, read_named, read_picture, text_of
from afnet_jax.scans.meshes.surface import MAX_BYTES, MAX_TRIANGLES, MeshError, Part, Surface, as_bytes, fans

_MAX_MATERIAL_BYTES = 2**20
_MAX_MATERIALS = 1000
# Options of map_Kd and the most arguments that each takes.
_OPTIONS = {"-blendu": 1, "-blendv": 1, "-cc": 1, "-clamp": 1, "-mm": 2, "-o": 3, "-s": 3, "-t": 3, "-texres": 1}
_NAMES = (b"usemtl ", b"mtllib ", b"newmtl ", b"map_Kd ", b"map_kd ")
_CURVES = ("curv", "surf", "parm", "cstype", "vp")


def read_obj(path: Path) -> Surface:
    """Reads a mesh or a point cloud: polygons of any size, absolute and relative indices, colours behind points.

    Raises:
        MeshError, ScanError: the file or one that it names is missing, broken or of a kind that is not supported.
    """
    lines = _lines(read_bytes(path, MAX_BYTES, "OBJ mesh"))
    points, uv, libraries, faces = [], [], [], _Faces()
    for number, line in enumerate(lines, 1):
        keyword, _, rest = line.partition(b" ")
        if keyword == b"v":
            points.append(rest)
        elif keyword == b"vt":
            uv.append(rest)
        elif keyword == b"f":
            faces.add(rest, len(points), len(uv), number)
        elif keyword == b"usemtl":
            faces.material = text_of(rest.strip())
        elif keyword == b"mtllib":
            libraries += libraries_in(path, text_of(rest.strip()))
        elif keyword.decode("latin-1") in _CURVES:
            raise MeshError(f"line {number}: free-form curves and surfaces are not supported; export a polygon mesh")
    vertices = _rows(points, (3, 4, 6, 7), "v")
    colours = as_bytes(vertices[:, 3:6]) if vertices.shape[1] >= 6 else None
    places = _rows(uv, (1, 2, 3), "vt") if uv else np.zeros((0, 2))
    if places.shape[1] == 1:
        raise MeshError("its texture points have one coordinate, expected two: u v")
    materials = _read_materials(path, libraries, faces.names)
    parts, remarks = faces.parts(materials)
    return Surface(vertices[:, :3], parts, places[:, :2] * (1, -1) + (0, 1), colours, remarks)


def _lines(data: bytes) -> Iterable[bytes]:
    """Lines without comments and blanks at their ends, a backslash at the end joins two; a tab counts as a space.

    Lines that hold a name are left whole: programs call materials "Material #25".
    """
    data = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\t", b" ")
    data = data.replace(b"\\\n", b" ")
    lines = (line.strip() for line in data.split(b"\n"))
    return (line if line.startswith(_NAMES) else line.partition(b"#")[0].strip() for line in lines)


def _rows(lines: list[bytes], widths: tuple[int, ...], what: str) -> np.ndarray:
    """(N, width) float64 numbers, all lines of one width; a fourth or seventh number of points is their weight."""
    if not lines:
        raise MeshError("the file holds no points (lines `v x y z`)")
    width = len(lines[0].split())
    if width not in widths:
        raise MeshError(f"a line `{what}` holds {width} numbers, expected {' or '.join(map(str, widths))}")
    try:
        values = np.array(b" ".join(lines).split(), np.float64)
        counts = {len(line.split()) for line in lines} if len(values) != width * len(lines) else {width}
    except ValueError:
        raise MeshError(f"a line `{what}` holds something that is no number") from None
    if len(counts) > 1 or len(values) % width:
        raise MeshError(f"lines `{what}` hold {min(counts)} to {max(counts)} numbers, expected as many in each")
    return values.reshape(-1, width)


class _Faces:
    """Polygons in the order of the file, grouped by material."""

    def __init__(self) -> None:
        self.material = ""
        self._count = 0
        self._corners: dict[str, list[int]] = {}
        self._uv_corners: dict[str, list[int]] = {}
        self._sizes: dict[str, list[int]] = {}

    @property
    def names(self) -> list[str]:
        return list(self._sizes)

    def add(self, text: bytes, points: int, uv: int, number: int) -> None:
        """Takes one line `f`; `points` and `uv` are how many the file has given before it."""
        try:
            corners = [[int(index) if index else 0 for index in corner.split(b"/")] for corner in text.split()]
        except ValueError:
            raise MeshError(f"line {number}: a polygon {text[:40]!r} whose corners are no whole numbers") from None
        first = self._corners.setdefault(self.material, [])
        second = self._uv_corners.setdefault(self.material, [])
        if len(self._sizes) > _MAX_MATERIALS:
            raise MeshError(f"more than {_MAX_MATERIALS} materials, expected a mesh of a face")
        # A negative index counts backwards from the last item given so far; 0 stands for "none" (-1 from here on).
        for corner in corners:
            point, place = corner[0], corner[1] if len(corner) > 1 else 0
            point, place = point + points if point < 0 else point - 1, place + uv if place < 0 else place - 1
            if point < 0 or place < -1:
                raise MeshError(f"line {number}: a polygon {text[:40]!r} names an item before the first")
            first.append(min(point, 2**31))
            second.append(min(place, 2**31))
        self._sizes.setdefault(self.material, []).append(len(corners))
        self._count += len(corners)
        if self._count > 4 * MAX_TRIANGLES:  # before memory is full of them
            raise MeshError(f"more than {MAX_TRIANGLES:,} polygons; simplify the mesh first")

    def parts(self, materials: dict[str, _Material]) -> tuple[tuple[Part, ...], tuple[str, ...]]:
        """The parts of the surface, and remarks on materials without a picture."""
        parts, unknown = [], []
        for name, sizes in self._sizes.items():
            count = np.array(sizes, np.int64)
            triangles = fans(np.array(self._corners[name], np.int64), count)
            uv_triangles = fans(np.array(self._uv_corners[name], np.int64), count)
            material = materials.get(name, _Material())
            unknown += [name] if name and name not in materials else []
            placed = (uv_triangles >= 0).all(axis=1)
            for chosen, places in ((placed, uv_triangles[placed]), (~placed, None)):
                if chosen.any():
                    picture = material.picture if places is not None else None
                    parts.append(Part(triangles[chosen], places, picture, material.colour))
        known = f"no material file defines {', '.join(sorted(unknown)[:3])}: such parts have no colour of their own"
        return tuple(parts), (known,) if unknown else ()


class _Material:
    """A material's picture and plain colour; None where it has none."""

    picture: np.ndarray | None = None
    colour: np.ndarray | None = None


def _read_materials(path: Path, libraries: list[str], used: list[str]) -> dict[str, _Material]:
    """The materials that are used, by name. An OBJ that names no library may have one of its own stem beside it."""
    if not libraries and with_suffix(path, ".mtl").is_file():
        libraries = [path.stem + ".mtl"]
    materials: dict[str, _Material] = {}
    picture = functools.cache(functools.partial(read_picture, path))  # materials may share one
    for library in dict.fromkeys(libraries):
        current = _Material()
        for line in _lines(read_named(path, library, "material file", _MAX_MATERIAL_BYTES)):
            keyword, _, rest = text_of(line).partition(" ")
            if keyword == "newmtl":
                current = _Material()
                materials.setdefault(rest.strip(), current)
                if len(materials) > _MAX_MATERIALS:
                    raise MeshError(f"more than {_MAX_MATERIALS} materials, expected a mesh of a face")
            elif keyword == "Kd":
                current.colour = _colour(rest)
            elif keyword.lower() == "map_kd" and rest and any(materials.get(name) is current for name in used):
                current.picture = picture(picture_name(rest))
    return materials


def _colour(text: str) -> np.ndarray | None:
    """(3,) uint8 of `r g b` from 0 to 1; None for spectral curves and other spaces of colour."""
    try:
        values = np.array(text.split()[:3], np.float64)
    except ValueError:
        return None
    return as_bytes(values.clip(0, 1)[None])[0] if values.shape == (3,) and np.isfinite(values).all() else None


def picture_name(text: str) -> str:
    """The file's name, spaces and all, behind the options of a line map_Kd."""
    words, count = text.split(), len(text.split())
    while len(words) > 1 and words[0].lower() in _OPTIONS:
        most = _OPTIONS[words.pop(0).lower()]
        for _ in range(most):
            if len(words) > 1 and (words[0] in ("on", "off") or _is_number(words[0]) or most == 1):
                words.pop(0)
            else:
                break
    return text.split(maxsplit=count - len(words))[-1].rstrip() if words else ""


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
