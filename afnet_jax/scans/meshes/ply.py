"""PLY, ascii and binary (Turk 1994): meshes and point clouds with colours and texture points."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from afnet_jax.scans.files import read_bytes
from afnet_jax.scans.meshes.folder import read_picture
from afnet_jax.scans.meshes.surface import (
    MAX_BYTES,
    MAX_CORNERS,
    MAX_POINTS,
    MeshError,
    Part,
    Surface,
    as_bytes,
    as_float64,
    fans,
)

_TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4",
    "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4",
    "float32": "f4", "float64": "f8",
}  # fmt: skip
_FORMATS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_MAX_HEAD = 100_000
_LISTS = ("vertex_indices", "vertex_index")
_UV = (("texture_u", "texture_v"), ("u", "v"), ("s", "t"))
_COLOURS = (("red", "green", "blue"), ("r", "g", "b"), ("diffuse_red", "diffuse_green", "diffuse_blue"))


@dataclasses.dataclass(frozen=True)
class _Property:
    """A column: its type, and for a list the type of its length."""

    name: str
    type: np.dtype
    length: np.dtype | None = None


@dataclasses.dataclass(frozen=True)
class _Lists:
    """Lists of different lengths: values one after the other, and how many each list has."""

    values: np.ndarray
    sizes: np.ndarray


@dataclasses.dataclass(frozen=True)
class _Element:
    """A table: its rows and columns."""

    name: str
    rows: int
    properties: tuple[_Property, ...]


@dataclasses.dataclass(frozen=True)
class _Table:
    """An element's content: properties of one number in each row, and lists."""

    columns: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    lists: Mapping[str, _Lists] = dataclasses.field(default_factory=dict)

    def stacked(self, names: Sequence[str]) -> np.ndarray | None:
        """(rows, len(names)) numbers, None where a name is missing."""
        whole = all(name in self.columns for name in names)
        return np.stack([self.columns[name] for name in names], axis=1) if whole else None


def read_ply(path: Path) -> Surface:
    """Reads a mesh, or a point cloud where there are no faces.

    Raises:
        MeshError, ScanError: the file or the picture that it names is missing, broken or of another kind.
    """
    data = read_bytes(path, MAX_BYTES, "PLY mesh")
    elements, order, pictures, body = _parse_head(data)
    if any(element.name == "tristrips" and element.rows for element in elements):
        raise MeshError("triangle strips are not supported; save it with faces")
    tables = _binary_tables(data, body, elements) if order else _ascii_tables(data[body:], elements)
    vertex, face = tables.get("vertex", _Table()), tables.get("face", _Table())
    points = vertex.stacked("xyz")
    if points is None:
        raise MeshError("its points have no x, y and z: expected these properties of an element `vertex` with rows")
    points = as_float64(points)
    colours = next((each for names in _COLOURS if (each := vertex.stacked(names)) is not None), None)
    colours = None if colours is None else as_bytes(colours)
    polygons = next((face.lists[name] for name in _LISTS if name in face.lists), None)
    if polygons is None:
        return Surface(points, colours=colours)
    if len(pictures) > 1:
        raise MeshError(f"it names {len(pictures)} pictures and no rule says which face takes which; save it as OBJ")
    triangles = fans(polygons.values.astype(np.int64), polygons.sizes)
    uv, uv_triangles = _texture_points(vertex, face, polygons, triangles)
    picture = read_picture(path, pictures[0]) if pictures and uv_triangles is not None else None
    return Surface(points, (Part(triangles, uv_triangles, picture),), uv * (1, -1) + (0, 1), colours)


def _texture_points(
    vertex: _Table, face: _Table, polygons: _Lists, triangles: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """(M, 2) texture points, v from the bottom, and (T, 3) indices; a face's own come before a point's."""
    own = face.lists.get("texcoord")
    if own is not None and own.sizes.any():
        if not np.array_equal(own.sizes, 2 * polygons.sizes):
            raise MeshError("its faces' lists `texcoord` do not hold two numbers for each corner")
        uv = as_float64(own.values).reshape(-1, 2)
        return uv, fans(np.arange(len(uv)), polygons.sizes)
    for names in _UV:
        if (places := vertex.stacked(names)) is not None:
            return as_float64(places), triangles
    return np.zeros((0, 2)), None


def _parse_head(data: bytes) -> tuple[list[_Element], str, list[str], int]:
    """Elements, byte order ("" for ascii), names of pictures, and where the body begins."""
    if data[:3] != b"ply":
        raise MeshError("no PLY file: its first line is not `ply`")
    end = data.find(b"end_header", 0, _MAX_HEAD)
    body = data.find(b"\n", end) + 1
    if end < 0 or not body:
        raise MeshError("its head has no `end_header`; the file is damaged or cut short")
    order, elements, pictures = None, [], []
    for line in data[:end].decode("utf-8", "replace").splitlines()[1:]:
        words = line.split()
        if words[:1] == ["format"] and len(words) > 1:
            order = _FORMATS.get(words[1])
        elif words[:1] == ["comment"] and len(words) > 2 and words[1].lower() == "texturefile":
            pictures.append(line.split(None, 2)[2])
        elif words[:1] == ["element"] and len(words) == 3 and words[2].isascii() and words[2].isdigit():
            elements.append(_Element(words[1], int(words[2][:19]), ()))
        elif words[:1] == ["property"] and elements:
            last = elements[-1]
            elements[-1] = dataclasses.replace(last, properties=(*last.properties, _property(words, order or "<")))
        elif words and words[0] not in ("comment", "obj_info"):
            raise MeshError(f"its head holds {line.strip()[:40]!r}, expected a format, element, property or comment")
    if order is None:
        raise MeshError(f"its head names no format that is known, expected one of {', '.join(_FORMATS)}")
    _check_names(elements)
    return elements, order, pictures, body


def _property(words: list[str], order: str) -> _Property:
    types = words[2:-1] if words[1:2] == ["list"] else words[1:-1]
    if len(types) != (2 if words[1:2] == ["list"] else 1) or not all(name in _TYPES for name in types):
        raise MeshError(f"its head holds {' '.join(words)[:40]!r}, expected `property TYPE NAME` or a list of such")
    dtypes = [np.dtype(order + _TYPES[name]) for name in types]
    if len(dtypes) == 2 and dtypes[0].kind == "f":
        raise MeshError(f"the length of its list {words[-1][:40]} is no whole number")
    return _Property(words[-1], dtypes[-1], dtypes[0] if len(dtypes) == 2 else None)


def _check_names(elements: list[_Element]) -> None:
    for names in ([each.name for each in elements], *([each.name for each in one.properties] for one in elements)):
        if len(set(names)) < len(names):
            raise MeshError("its head names an element or a property twice")
    if large := [each for each in elements if each.rows > MAX_POINTS]:
        rows, name = large[0].rows, large[0].name
        raise MeshError(
            f"{rows:,} rows of `{name}`, expected at most {MAX_POINTS:,}; simplify the mesh, or copy it again"
        )
    if any(each.rows and not each.properties for each in elements):
        raise MeshError("its head holds an element without properties")


def _fault(element: _Element) -> MeshError:
    return MeshError(f"it announces {element.rows:,} rows of `{element.name}` and ends before; copy it again")


def _binary_tables(data: bytes, at: int, elements: list[_Element]) -> dict[str, _Table]:
    tables = {}
    for element in elements:
        least = sum((each.length or each.type).itemsize for each in element.properties)
        if element.rows * least > len(data) - at:
            raise _fault(element)
        tables[element.name], at = _binary_table(data, at, element)
    return tables


def _binary_table(data: bytes, at: int, element: _Element) -> tuple[_Table, int]:
    """Reads one table: at once where its lists are all as long as the first row's, else row by row."""
    if not element.rows:
        return _Table(), at
    sizes = _first_sizes(data, at, element)
    fields: list[tuple[str, np.dtype, tuple[int, ...]]] = []
    for each in element.properties:
        if each.length:
            fields.append((f"size {each.name}", each.length, ()))
        fields.append((each.name, each.type, (sizes[each.name],) if each.length else ()))
    row = np.dtype(fields)
    if element.rows * row.itemsize <= len(data) - at:
        rows = np.frombuffer(data, row, element.rows, at)
        if all((rows[f"size {name}"] == size).all() for name, size in sizes.items()):
            same = {name: np.full(element.rows, size, np.int64) for name, size in sizes.items()}
            lists = {name: _Lists(rows[name].reshape(-1), count) for name, count in same.items()}
            columns = {each.name: rows[each.name] for each in element.properties if not each.length}
            return _Table(columns, lists), at + element.rows * row.itemsize
    return _binary_rows(data, at, element)


def _first_sizes(data: bytes, at: int, element: _Element) -> dict[str, int]:
    sizes = {}
    for each in element.properties:
        if each.length:
            sizes[each.name] = size = _size(data, at, each, element)
            at += each.length.itemsize + size * each.type.itemsize
        else:
            at += each.type.itemsize
    return sizes


def _size(data: bytes, at: int, each: _Property, element: _Element) -> int:
    assert each.length is not None
    if at + each.length.itemsize > len(data):
        raise _fault(element)
    size = int(np.frombuffer(data, each.length, 1, at)[0])
    if not 0 <= size <= 2 * MAX_CORNERS:
        raise MeshError(
            f"a list `{each.name}` of {size} values, expected at most {2 * MAX_CORNERS}; the file is damaged"
        )
    return size


def _binary_rows(data: bytes, at: int, element: _Element) -> tuple[_Table, int]:
    starts: dict[str, list[int]] = {each.name: [] for each in element.properties}
    sizes: dict[str, list[int]] = {each.name: [] for each in element.properties}
    for _ in range(element.rows):
        for each in element.properties:
            size = 1
            if each.length:
                size = _size(data, at, each, element)
                at += each.length.itemsize
            starts[each.name].append(at)
            sizes[each.name].append(size)
            at += size * each.type.itemsize
    if at > len(data):
        raise _fault(element)
    raw = np.frombuffer(data, np.uint8)
    columns, lists = {}, {}
    for each in element.properties:
        count = np.array(sizes[each.name], np.int64)
        first = np.repeat(np.array(starts[each.name], np.int64), count)
        step = np.arange(len(first)) - np.repeat(np.cumsum(count) - count, count)
        place = (first + step * each.type.itemsize)[:, None] + np.arange(each.type.itemsize)
        values = raw[place].reshape(-1).view(each.type)
        if each.length:
            lists[each.name] = _Lists(values, count)
        else:
            columns[each.name] = values
    return _Table(columns, lists), at


def _ascii_tables(body: bytes, elements: list[_Element]) -> dict[str, _Table]:
    lines = [line for line in body.split(b"\n") if line.strip()]
    tables, at = {}, 0
    for element in elements:
        if at + element.rows > len(lines):
            raise _fault(element)
        tables[element.name] = _ascii_table([line.split() for line in lines[at : at + element.rows]], element)
        at += element.rows
    return tables


def _ascii_table(rows: list[list[bytes]], element: _Element) -> _Table:
    if not rows:
        return _Table()
    values: dict[str, list[bytes]] = {each.name: [] for each in element.properties}
    sizes: dict[str, list[int]] = {each.name: [] for each in element.properties if each.length}
    try:
        for row in rows:
            at = 0
            for each in element.properties:
                size = int(row[at]) if each.length else 1
                at += 1 if each.length else 0
                if size < 0 or at + size > len(row):
                    raise IndexError
                values[each.name] += row[at : at + size]
                at += size
                if each.length:
                    sizes[each.name].append(size)
            if at != len(row):
                raise IndexError
        arrays = {p.name: _typed(values[p.name], p.type) for p in element.properties}
    except (ValueError, IndexError, OverflowError):
        raise MeshError(f"a row of `{element.name}` does not hold the numbers that the head announces") from None
    lists = {name: _Lists(arrays.pop(name), np.array(count, np.int64)) for name, count in sizes.items()}
    return _Table(arrays, lists)


def _typed(words: list[bytes], dtype: np.dtype) -> np.ndarray:
    """Numbers of a column; some writers give indices and bytes as 3.0."""
    numbers = np.array(words, np.float64)
    if dtype.kind == "f":
        return numbers
    limits = np.iinfo(dtype)
    if not ((numbers >= limits.min) & (numbers <= limits.max) & (numbers == np.floor(numbers))).all():
        raise ValueError
    return numbers.astype(dtype.newbyteorder("="))
