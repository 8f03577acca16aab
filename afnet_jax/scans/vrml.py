"""VRML 2.0 text files that hold one textured IndexedFaceSet, as BU-3DFE's do (ISO/IEC 14772-1)."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np

from afnet_jax.scans.files import read_bytes
from afnet_jax.scans.scan import ScanError

MAX_BYTES = 64 * 2**20  # the largest meshes of the database (RAW) stay below 10 MB
MAX_DEPTH = 32
MAX_TOKENS = 20_000  # names and strings outside the number arrays; true files have about 200
_CHUNK = 2**18  # bytes of numbers parsed at a time: bounds the memory that their tokens take


@dataclasses.dataclass(frozen=True)
class FaceSet:
    """A textured triangle mesh in VRML's own convention. N points, M texture points, T triangles.

    Attributes:
        points: (N, 3) float64.
        triangles: (T, 3) int32 indices into points, corners in the file's order.
        uv: (M, 2) float64 texture points, v upwards from the picture's BOTTOM.
        uv_triangles: (T, 3) int32 indices into uv, corner by corner beside triangles.
        texture: the picture's bare file name.
    """

    points: np.ndarray
    triangles: np.ndarray
    uv: np.ndarray
    uv_triangles: np.ndarray
    texture: str


@dataclasses.dataclass(frozen=True)
class Node:
    """A VRML node: its type and its fields. A number array stays bytes until someone asks for it."""

    type: str
    fields: dict[str, object]

    def below(self):
        """This node and every node in its fields, depth first."""
        yield self
        for value in self.fields.values():
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, Node):
                    yield from child.below()


class VRMLError(ValueError):
    """Text that is no VRML, or none that this module supports; the reader of the file adds its name."""


def read_face_set(path: Path) -> FaceSet:
    """Reads the file's one IndexedFaceSet; polygons become fans of triangles.

    Raises:
        ScanError: the file is missing, broken or of a structure that is not supported.
    """
    data = read_bytes(path, MAX_BYTES, "VRML mesh")
    try:
        return _face_set(parse(data))
    except VRMLError as error:
        raise ScanError(path, str(error)) from None


def _face_set(root: Node) -> FaceSet:
    nodes = list(root.below())
    _refuse_unsupported(nodes)
    mesh = _only("IndexedFaceSet", nodes)
    points = _points(mesh, "coord", "Coordinate", 3)
    uv = _points(mesh, "texCoord", "TextureCoordinate", 2)
    corners, sizes = _polygons(mesh, "coordIndex", len(points))
    # Without an index of their own, texture points go by the index of the points (ISO/IEC 14772-1, 6.23).
    uv_field = "texCoordIndex" if "texCoordIndex" in mesh.fields else "coordIndex"
    uv_corners, uv_sizes = _polygons(mesh, uv_field, len(uv))
    if not np.array_equal(sizes, uv_sizes):
        raise VRMLError(f"texCoordIndex has {len(uv_sizes)} polygons of other sizes than coordIndex's {len(sizes)}")
    fan = _fan(sizes)
    return FaceSet(points, corners[fan], uv, uv_corners[fan], _texture_name(_only("ImageTexture", nodes)))


def _refuse_unsupported(nodes: list[Node]) -> None:
    moved = [node.type for node in nodes if node.type == "Transform" and set(node.fields) - {"children"}]
    if moved:
        raise VRMLError("a Transform moves the mesh; expected the points in their final place: export the mesh again")
    for kind in ("TextureTransform", "Inline", "USE"):
        if any(node.type == kind for node in nodes):
            raise VRMLError(f"a {kind} node is not supported; expected one plain IndexedFaceSet: export the mesh again")


def _only(kind: str, nodes: list[Node]) -> Node:
    found = [node for node in nodes if node.type == kind]
    if len(found) != 1:
        raise VRMLError(f"expected exactly one {kind} node, found {len(found)}")
    return found[0]


def _points(mesh: Node, field: str, kind: str, dimensions: int) -> np.ndarray:
    node = mesh.fields.get(field)
    if not isinstance(node, Node) or node.type != kind:
        raise VRMLError(f"the IndexedFaceSet has no `{field} {kind}`")
    values = _numbers(node.fields.get("point"), np.float64, f"{kind} point")
    if values.size == 0 or values.size % dimensions:
        raise VRMLError(f"{kind} point holds {values.size} numbers, expected {dimensions} for each point")
    if not np.isfinite(values).all():
        raise VRMLError(f"{kind} point holds a number beyond all bounds")
    return values.reshape(-1, dimensions)


def _polygons(mesh: Node, field: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Corner indices of all polygons, one after the other, and the polygons' sizes; `count` points may be named."""
    index = _numbers(mesh.fields.get(field), np.int64, field)
    if index.size and index[-1] != -1:  # the last -1 may be left out
        index = np.append(index, -1)
    ends = np.flatnonzero(index == -1)
    sizes = np.diff(ends, prepend=-1) - 1
    corners = index[index != -1]
    if not sizes.size or sizes.min() < 3:
        raise VRMLError(f"{field} holds no polygon, or one of fewer than 3 corners")
    if corners.min() < 0 or corners.max() >= count:
        raise VRMLError(f"{field} names point {corners.max()} (or a negative one); there are {count} points")
    return corners.astype(np.int32), sizes


def _fan(sizes: np.ndarray) -> np.ndarray:
    """(T, 3) positions in the list of corners: polygon a b c d … becomes a b c, a c d, …"""
    triangles = sizes - 2
    first = np.repeat(np.cumsum(sizes) - sizes, triangles)
    step = np.arange(triangles.sum()) - np.repeat(np.cumsum(triangles) - triangles, triangles)
    return np.stack([first, first + step + 1, first + step + 2], axis=1)


def _texture_name(node: Node) -> str:
    url = node.fields.get("url")
    names = url if isinstance(url, list) else [url]
    name = names[0] if names and isinstance(names[0], str) else ""
    # A scan is its own folder's matter: nothing in it may lead elsewhere.
    if not re.fullmatch(r"[\w\- ][\w\-. ]*", name, re.ASCII):
        raise VRMLError(f"the texture's url is {name[:80]!r}, expected the bare name of a picture in the same folder")
    return name


_NUMBER_SET = {np.float64: b"0123456789+-.eE ", np.int64: b"0123456789+- "}
_BLANKS = bytes.maketrans(b",\t\r\n\f\v", b"      ")


def _numbers(body: object, dtype: type, what: str) -> np.ndarray:
    if not isinstance(body, bytes):
        raise VRMLError(f"the {what} array is missing")
    text = body.translate(_BLANKS)
    strange = text.translate(None, _NUMBER_SET[dtype])  # also keeps out nan, inf and 1_000
    if strange:
        raise VRMLError(f"the {what} array holds {strange[:20]!r}, expected numbers")
    parts, start = [np.empty(0, dtype)], 0
    try:
        while start < len(text):
            end = text.find(b" ", start + _CHUNK)
            end = len(text) if end < 0 else end
            parts.append(np.array(text[start:end].split(), dtype))
            start = end
    except (ValueError, OverflowError):
        raise VRMLError(f"the {what} array holds something that is no number") from None
    return np.concatenate(parts)


# --- the grammar, as far as it takes to find nodes by name -------------------------------------------------------

_SPACE = re.compile(rb"(?:[\s,]+|#[^\r\n]*)*+")
_WORD = re.compile(rb"[^\s,{}\[\]\"#]{1,1000}+")
_STRING = re.compile(rb'"(?:[^"\\]|\\.){0,1000}+"', re.DOTALL)
_COMMENT = re.compile(rb"#[^\r\n]*")


def parse(data: bytes) -> Node:
    """Parses a VRML 2.0 file into a root node whose "children" are the file's own nodes.

    Raises:
        VRMLError: not VRML 2.0 text, cut short, or with prototypes and scripts.
    """
    if not data.startswith(b"#VRML V2.0"):
        raise VRMLError("not a VRML 2.0 file (its first line is not `#VRML V2.0 …`); expected BU-3DFE's …_F3D.wrl")
    return Node("root", {"children": _Parser(data).nodes_until(b"")})


class _Parser:
    """A cursor over the file's bytes."""

    def __init__(self, data: bytes):
        self.data, self.at, self.depth, self.tokens = data, 0, 0, 0

    def peek(self) -> bytes:
        """The next byte that is neither blank nor comment, b"" at the end."""
        self.at = _SPACE.match(self.data, self.at).end()
        return self.data[self.at : self.at + 1]

    def word(self) -> str:
        self.peek()
        return self.token(_WORD, "a name").decode("latin-1")

    def token(self, pattern: re.Pattern, what: str) -> bytes:
        match = pattern.match(self.data, self.at)
        if not match:
            raise self.fault(f"expected {what}")
        self.tokens += 1
        if self.tokens > MAX_TOKENS:
            raise self.fault(f"more than {MAX_TOKENS} names, expected one mesh")
        self.at = match.end()
        return match[0]

    def fault(self, what: str) -> VRMLError:
        line = self.data.count(b"\n", 0, self.at) + 1
        end = " (the file is cut short)" if self.at >= len(self.data) else ""
        return VRMLError(f"line {line}: {what}, found {self.data[self.at : self.at + 20]!r}{end}")

    def expect(self, byte: bytes) -> None:
        if self.peek() != byte:
            raise self.fault(f"expected {byte.decode()!r}")
        self.at += 1

    def nodes_until(self, closing: bytes) -> list[Node]:
        nodes = []
        while self.peek() != closing:
            nodes.append(self.node(self.word()))
        self.at += len(closing)
        return nodes

    def node(self, word: str) -> Node:
        if word == "USE":
            return Node("USE", {"name": self.word()})
        if word == "DEF":
            self.word()
            word = self.word()
        if word in ("PROTO", "EXTERNPROTO", "ROUTE", "Script"):
            raise self.fault(f"{word} is not supported; expected one plain IndexedFaceSet")
        self.expect(b"{")
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.fault(f"nodes are nested more than {MAX_DEPTH} deep")
        fields = {}
        while self.peek() != b"}":
            name = self.word()
            if name in fields:
                raise self.fault(f"`{name}` stands twice in one {word}")
            fields[name] = self.value()
        self.at += 1
        self.depth -= 1
        return Node(word, fields)

    def value(self) -> object:
        start = self.peek()
        if start == b'"':
            return self.string()
        if start == b"[":
            self.at += 1
            return self.array()
        word = self.word()
        if word in ("TRUE", "FALSE", "NULL"):
            return word
        if word[0] in "+-.0123456789":
            return self.numbers(word)
        return self.node(word)

    def numbers(self, first: str) -> bytes:
        """A field of a few numbers without brackets, such as a colour."""
        words = [first]
        while self.peek() in [b"%c" % byte for byte in b"+-.0123456789"]:
            words.append(self.word())
        return " ".join(words).encode("latin-1")

    def string(self) -> str:
        self.peek()
        return self.token(_STRING, "a string")[1:-1].decode("utf-8", "replace")

    def array(self) -> object:
        start = self.peek()
        if start == b'"':
            strings = []
            while self.peek() != b"]":
                strings.append(self.string())
            self.at += 1
            return strings
        return self.number_array() if start and start in b"]+-.0123456789" else self.nodes_until(b"]")

    def number_array(self) -> bytes:
        # The bulk of the file: skipped in one go, not token by token.
        parts, end = [], -1
        while True:
            if end < self.at:  # at first, and where the bracket found was part of a comment
                end = self.data.find(b"]", self.at)
            if end < 0:
                self.at = len(self.data)
                raise self.fault("expected ']'")
            comment = self.data.find(b"#", self.at, end)
            part = self.data[self.at : end if comment < 0 else comment]
            if part:
                parts.append(part)
            if comment < 0:
                self.at = end + 1
                return b" ".join(parts)
            self.at = _COMMENT.match(self.data, comment).end()


# --- writing ------------------------------------------------------------------------------------------------------

VIEWPOINTS = (
    ("Front", "0 0 700", "0 1 0 0"),
    ("Left", "-700 0 0", "0 1 0 -1.5708"),
    ("Right", "700 0 0", "0 1 0 1.5708"),
    ("Back", "0 0 -700", "0 1 0 3.1416"),
    ("Top", "0 700 0", "1 0 0 -1.5708"),
    ("Bottom", "0 -700 0", "1 0 0 1.5708"),
)

HEAD = """#VRML V2.0 utf8
#Tricorder Technology plc - 2000
DEF Tricorder_object Transform {{
children [
Shape {{
appearance Appearance {{
texture ImageTexture {{
url "{texture}"
repeatS FALSE
repeatT FALSE
}}
}}
geometry IndexedFaceSet {{
ccw TRUE
solid FALSE
convex TRUE
creaseAngle 1.57
coord Coordinate {{
point [
"""

VIEWPOINT = """DEF Tricorder_Camera_{name} Viewpoint {{
position {position}
orientation {orientation}
fieldOfView 0.3
description "{name}"
}}
"""


def write_face_set(path: Path, mesh: FaceSet) -> None:
    """Writes a mesh as BU-3DFE's files are laid out: five decimals for points, six for texture points."""
    parts = [
        HEAD.format(texture=mesh.texture),
        _rows("%.5f %.5f %.5f", mesh.points),
        "]\n}\ncoordIndex [\n",
        _rows("%d, %d, %d, -1", mesh.triangles),
        "]\ntexCoord TextureCoordinate {\npoint [\n",
        _rows("%.6f %.6f", mesh.uv),
        "]\n}\ntexCoordIndex [\n",
        _rows("%d, %d, %d, -1", mesh.uv_triangles),
        "]\n}\n}\n]\n}\n",
        *(VIEWPOINT.format(name=name, position=at, orientation=turn) for name, at, turn in VIEWPOINTS),
    ]
    path.write_bytes("".join(parts).encode("ascii"))


def _rows(pattern: str, array: np.ndarray) -> str:
    indented = " " * 40 + pattern
    return ",\n".join([indented] * len(array)) % tuple(array.ravel().tolist()) + "\n"
