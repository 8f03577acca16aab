"""glTF 2.0 and its binary form GLB (Khronos, ISO/IEC 12113): the triangles and points of a file's scene."""

from __future__ import annotations

import base64
import binascii
import json
from pathlib import Path
from typing import Any

import numpy as np

from afnet_jax.scans import images
from afnet_jax.scans.files import read_bytes
from afnet_jax.scans.meshes.draco import decoded
from afnet_jax.scans.meshes.folder import read_named
from afnet_jax.scans.meshes.gltf_arrays import Arrays
from afnet_jax.scans.meshes.surface import MAX_BYTES, MeshError, Part, Surface, as_bytes, as_float64, joined

_SUPPORTED = (
    "KHR_draco_mesh_compression",
    "KHR_mesh_quantization",
    "KHR_materials_pbrSpecularGlossiness",
    "KHR_materials_unlit",
    "KHR_texture_transform",
)
_MOST_NODES = 10_000
_BYTE = 5121  # the component type of unsigned bytes
_POINTS, _TRIANGLES, _STRIP, _FAN = 0, 4, 5, 6


def read_gltf(path: Path) -> Surface:
    """Reads all meshes of the file's scene, each where its nodes place it.

    Raises:
        MeshError, ScanError: the file or one that it names is missing, broken or of a kind that is not supported.
    """
    data = read_bytes(path, MAX_BYTES, "glTF mesh")
    document, chunk = _glb(data) if data[:4] == b"glTF" else (data, None)
    try:
        content = json.loads(document)
        if not isinstance(content, dict):
            raise ValueError
    except (ValueError, RecursionError):
        raise MeshError("no glTF file: its text is no JSON object, or is cut short") from None
    try:
        return _File(path, content, chunk).surface()
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, OverflowError) as error:
        if isinstance(error, MeshError):
            raise
        raise MeshError(
            f"its glTF does not hold together ({' '.join(str(error).split())[:80]}); export it again"
        ) from None


def _glb(data: bytes) -> tuple[bytes, bytes | None]:
    """The JSON and the binary chunk of a GLB file."""
    if int.from_bytes(data[4:8], "little") != 2:
        raise MeshError("its glTF is not of version 2; export it again")
    chunks: dict[bytes, bytes] = {}
    at = 12
    while at + 8 <= len(data):
        size, kind = int.from_bytes(data[at : at + 4], "little"), data[at + 4 : at + 8]
        if at + 8 + size > len(data):
            raise MeshError("the file is cut short; copy it again")
        chunks.setdefault(kind, data[at + 8 : at + 8 + size])
        at += 8 + size
    if b"JSON" not in chunks:
        raise MeshError("no GLB file: it has no JSON chunk")
    return chunks[b"JSON"], chunks.get(b"BIN\0")


class _File:
    """One glTF file: its JSON, and what it leads to."""

    def __init__(self, path: Path, content: dict[str, Any], chunk: bytes | None):
        self.path, self.content = path, content
        required = content.get("extensionsRequired") or []
        if unknown := [str(each) for each in required if each not in _SUPPORTED]:
            raise MeshError(f"it needs {', '.join(unknown)[:80]}, which is not supported; export it without")
        self.arrays = Arrays(content, [self._buffer(each, chunk) for each in content.get("buffers", [])])
        self._pictures: dict[tuple[int, bool], np.ndarray] = {}

    def _buffer(self, buffer: dict[str, Any], chunk: bytes | None) -> bytes:
        if "uri" not in buffer:
            if chunk is None:
                raise MeshError("a buffer of it lies nowhere; export it again")
            return chunk
        embedded = _embedded(buffer["uri"])
        return read_named(self.path, buffer["uri"], "buffer", MAX_BYTES, quoted=True) if embedded is None else embedded

    def surface(self) -> Surface:
        found = [
            self._primitive(primitive, to_scene)
            for mesh, to_scene in self._placed_meshes()
            for primitive in self.content["meshes"][mesh]["primitives"]
            if primitive.get("mode", _TRIANGLES) in (_POINTS, _TRIANGLES, _STRIP, _FAN)
        ]
        if not found:
            raise MeshError("its scene holds no mesh")
        surfaces = [each for each in found if each.parts]
        return joined(surfaces or found)

    def _placed_meshes(self) -> list[tuple[int, np.ndarray]]:
        """(mesh, (4, 4) way to the scene) of every node with a mesh."""
        nodes = self.content.get("nodes", [])
        scenes = self.content.get("scenes")
        roots = scenes[self.content.get("scene", 0)].get("nodes", []) if scenes else range(len(nodes))
        found, waiting, visits = [], [(each, np.eye(4)) for each in roots], 0
        while waiting:
            visits += 1
            if visits > _MOST_NODES:
                raise MeshError(f"more than {_MOST_NODES} nodes, or a circle of them; expected one face")
            index, above = waiting.pop()
            node = nodes[_index(index)]
            to_scene = above @ _local(node)
            waiting += [(child, to_scene) for child in node.get("children", [])]
            if "mesh" in node:
                mesh = _index(node["mesh"])
                if any(node.get("weights") or self.content["meshes"][mesh].get("weights") or ()):
                    raise MeshError("its shape is blended of several (morph targets); export it with them applied")
                found.append((mesh, to_scene))
        return found

    def _primitive(self, primitive: dict[str, Any], to_scene: np.ndarray) -> Surface:
        attributes, indices = self._attributes(primitive)
        if "POSITION" not in attributes:
            raise MeshError("a mesh of it has no positions")
        with np.errstate(all="ignore"):  # what is no number is found where all points are checked
            points = as_float64(attributes["POSITION"]) @ to_scene[:3, :3].T + to_scene[:3, 3]
        colours = self._point_colours(primitive, attributes["COLOR_0"]) if "COLOR_0" in attributes else None
        mode = primitive.get("mode", _TRIANGLES)
        if mode == _POINTS:
            return Surface(points, colours=colours)
        triangles = _triangles(np.arange(len(points)) if indices is None else indices.astype(np.int64), mode)
        if np.linalg.det(to_scene[:3, :3]) < 0:  # a mirror turns triangles round (glTF 2.0, 3.7.4)
            triangles = triangles[:, ::-1]
        colour, picture, uv = self._material(primitive.get("material"), attributes)
        placed = triangles if uv is not None else None
        part = Part(triangles, placed, picture if uv is not None else None, colour)
        return Surface(points, (part,), np.zeros((0, 2)) if uv is None else uv, colours)

    def _point_colours(self, primitive: dict[str, Any], colours: np.ndarray) -> np.ndarray:
        """(N, 3) uint8. Linear by the format (glTF 2.0, 3.7.2.1), but programs that write bytes write a picture's."""
        where = primitive["attributes"].get("COLOR_0")
        if colours.dtype == np.uint8 or self.content["accessors"][_index(where)]["componentType"] == _BYTE:
            return as_bytes(colours)
        most = np.iinfo(colours.dtype).max if colours.dtype.kind in "iu" else 1  # Draco gives integers as they are
        return _srgb(as_float64(colours[:, :3]) / most)

    def _attributes(self, primitive: dict[str, Any]) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
        compressed = (primitive.get("extensions") or {}).get("KHR_draco_mesh_compression")
        if compressed:
            return decoded(self.arrays.view(compressed["bufferView"]), compressed["attributes"])
        names = [name for name in primitive["attributes"] if name in ("POSITION", "COLOR_0") or name[:8] == "TEXCOORD"]
        attributes = {name: self.arrays.read(_index(primitive["attributes"][name])) for name in names}
        indices = self.arrays.read(_index(primitive["indices"])) if "indices" in primitive else None
        return attributes, None if indices is None else indices.reshape(-1)

    def _material(
        self, index: int | None, attributes: dict[str, np.ndarray]
    ) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
        """A plain colour, a picture and its texture points, each None where there is none."""
        material = self.content["materials"][_index(index)] if index is not None else {}
        rough, opaque = material.get("pbrMetallicRoughness", {}), material.get("alphaMode", "OPAQUE") == "OPAQUE"
        gloss = (material.get("extensions") or {}).get("KHR_materials_pbrSpecularGlossiness", {})
        factor = gloss.get("diffuseFactor", rough.get("baseColorFactor"))
        # Photographs are lit already, and some programs write them as what glows on its own.
        texture = gloss.get("diffuseTexture", rough.get("baseColorTexture", material.get("emissiveTexture")))
        colour = None if factor is None else _srgb(np.array(factor, np.float64)[:3])
        transform = ((texture or {}).get("extensions") or {}).get("KHR_texture_transform", {})
        layer = transform.get("texCoord", (texture or {}).get("texCoord", 0))
        uv = attributes.get(f"TEXCOORD_{layer}")
        uv = None if uv is None else _transformed(as_float64(uv[:, :2]), transform)
        return colour, None if texture is None or uv is None else self._picture(_index(texture["index"]), opaque), uv

    def _picture(self, texture: int, opaque: bool) -> np.ndarray:
        if "source" not in self.content["textures"][texture]:
            raise MeshError("its texture is a picture of a kind that is not supported; export it as JPEG or PNG")
        source = _index(self.content["textures"][texture]["source"])
        if (source, opaque) not in self._pictures:
            image = self.content["images"][source]
            data = self.arrays.view(image["bufferView"]) if "bufferView" in image else _embedded(image["uri"])
            if data is None:
                data = read_named(self.path, image["uri"], "texture picture", images.MAX_BYTES, quoted=True)
            self._pictures[source, opaque] = images.decode_rgb(self.path, data, opaque=opaque)
        return self._pictures[source, opaque]


def _index(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise MeshError(f"its glTF names item {value!r:.40}, expected a whole number")
    return value


def _embedded(uri: str) -> bytes | None:
    """The bytes of a data URI, None for the name of a file."""
    if not uri.startswith("data:"):
        return None
    try:
        return base64.b64decode(uri.partition(",")[2], validate=True)
    except binascii.Error:
        raise MeshError("a buffer or picture embedded in it is damaged") from None


def _local(node: dict[str, Any]) -> np.ndarray:
    """(4, 4) of a node to its parent: its matrix, or translation · rotation · scale (glTF 2.0, 3.5.2)."""
    if "matrix" in node:
        return np.array(node["matrix"], np.float64).reshape(4, 4).T
    x, y, z, w = np.array(node.get("rotation", (0, 0, 0, 1)), np.float64)
    matrix = np.eye(4)
    matrix[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    matrix[:3, :3] *= np.array(node.get("scale", (1, 1, 1)), np.float64)
    matrix[:3, 3] = np.array(node.get("translation", (0, 0, 0)), np.float64)
    return matrix


def _triangles(indices: np.ndarray, mode: int) -> np.ndarray:
    if mode == _TRIANGLES:
        if len(indices) % 3:
            raise MeshError(f"a mesh of it has {len(indices)} corners, expected three for each triangle")
        return indices.reshape(-1, 3)
    if mode == _FAN:
        return np.stack([np.full(max(len(indices) - 2, 0), indices[:1].sum()), indices[1:-1], indices[2:]], axis=1)
    strip = np.stack([indices[:-2], indices[1:-1], indices[2:]], axis=1)
    strip[1::2] = strip[1::2, [1, 0, 2]]  # every second one runs the other way
    return strip


def _srgb(linear: np.ndarray) -> np.ndarray:
    """uint8 of linear colours, as materials have them (glTF 2.0, 3.9.2; IEC 61966-2-1)."""
    linear = np.nan_to_num(linear).clip(0, 1)
    curved = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.round(255 * curved).astype(np.uint8)


def _transformed(uv: np.ndarray, transform: dict[str, Any]) -> np.ndarray:
    """Texture points moved, turned and scaled (KHR_texture_transform)."""
    if not transform:
        return uv
    angle = float(transform.get("rotation", 0))
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    scaled = uv * np.array(transform.get("scale", (1, 1)), np.float64)
    return scaled @ turn.T + np.array(transform.get("offset", (0, 0)), np.float64)
