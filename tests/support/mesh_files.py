"""Mesh files of one small surface, written byte by byte as the formats' specifications say."""

import base64
import io
import json
import struct
from pathlib import Path

import numpy as np
from PIL import Image

from afnet_jax.scans.scan import Scan
from tests.support.dome import dome

SURFACE = dome()
POINTS, TRIANGLES = SURFACE.points, SURFACE.triangles
UV = SURFACE.uv.astype(np.float64)  # v from the picture's top
# Colours that are linear in the place, so that they are known everywhere on the surface.
COLOURS = np.round(128 + POINTS * (1.2, 1.0, 0.8) - (0, 0, 40)).clip(0, 255).astype(np.uint8)


def dense(count: int = 900) -> np.ndarray:
    """(count, 3) points on the surface's ellipsoid, evenly spread as seen from the front."""
    golden = np.arange(count) * np.pi * (3 - 5**0.5)
    radius = np.sqrt((np.arange(count) + 0.5) / count)
    x, y = 70 * radius * np.cos(golden), 85 * radius * np.sin(golden)
    return np.stack([x, y, 60 * np.sqrt(1 - (x / 80) ** 2 - (y / 100) ** 2)], axis=1)


def picture(kind: str = "PNG", colour: tuple[int, int, int] | None = None) -> bytes:
    """The surface's texture, or a plain one, as a file of PNG or JPEG."""
    pixels = SURFACE.texture if colour is None else np.full((8, 8, 3), colour, np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def obj(*, lines: str = "mtllib face.mtl\nusemtl skin\n", colours: bool = False, uv: bool = True) -> str:
    rows = [f"v {x:.5f} {y:.5f} {z:.5f}" for x, y, z in POINTS]
    if colours:
        rows = [
            f"{row} {r / 255:.6f} {g / 255:.6f} {b / 255:.6f}" for row, (r, g, b) in zip(rows, COLOURS, strict=True)
        ]
    rows += [f"vt {u:.6f} {1 - v:.6f}" for u, v in UV] if uv else []
    corner = "{0}/{0}" if uv else "{0}"
    faces = ["f " + " ".join(corner.format(k + 1) for k in triangle) for triangle in TRIANGLES]
    return lines + "\n".join([*rows, *faces]) + "\n"


def write_obj(folder: Path, text: str | None = None) -> Path:
    """face.obj with face.mtl and face.png beside it."""
    (folder / "face.mtl").write_text("newmtl skin\nKd 0.5 0.5 0.5\nmap_Kd face.png\n", encoding="utf-8")
    (folder / "face.png").write_bytes(picture())
    path = folder / "face.obj"
    path.write_text(obj() if text is None else text, encoding="utf-8")
    return path


def write_coloured_obj(path: Path, scan: Scan) -> None:
    """A scan as an OBJ file with some colour at every point, its landmarks beside it."""
    vertices = [f"v {x:.4f} {y:.4f} {z:.4f} {0.4 + 0.2 * (i % 2)} 0.4 0.3" for i, (x, y, z) in enumerate(scan.points)]
    faces = [f"f {a} {b} {c}" for a, b, c in scan.triangles + 1]
    path.write_text("\n".join([*vertices, *faces]) + "\n")
    landmarks = {name: list(map(float, at)) for name, at in scan.landmarks.items()}
    path.with_suffix(".landmarks.json").write_text(json.dumps(landmarks))


def ply(form: str = "ascii", *, faces: list[list[int]] | None = None, colours: bool = True, points=POINTS) -> bytes:
    """A mesh, or a cloud where `faces` is []."""
    faces = TRIANGLES.tolist() if faces is None else faces
    head = ["ply", f"format {form} 1.0", "comment made by hand", f"element vertex {len(points)}"]
    head += [f"property float {axis}" for axis in "xyz"]
    head += [f"property uchar {name}" for name in ("red", "green", "blue")] if colours else []
    head += [f"element face {len(faces)}", "property list uchar int vertex_indices"] if faces else []
    shown = np.resize(COLOURS, (len(points), 3))
    rows = [(*map(float, at), *(map(int, c) if colours else ())) for at, c in zip(points, shown, strict=True)]
    if form == "ascii":
        body = [" ".join(map(str, row)) for row in rows] + [" ".join(map(str, (len(f), *f))) for f in faces]
        return ("\n".join([*head, "end_header", *body]) + "\n").encode()
    order = "<" if "little" in form else ">"
    packed = [struct.pack(f"{order}3f{3 * colours}B", *row) for row in rows]
    packed += [struct.pack(f"{order}B{len(face)}i", len(face), *face) for face in faces]
    return "\n".join([*head, "end_header\n"]).encode() + b"".join(packed)


def stl(form: str = "binary") -> bytes:
    corners = POINTS[TRIANGLES]
    if form == "ascii":
        loops = [
            "facet normal 0 0 1\nouter loop\n" + "".join(f"vertex {x:.6e} {y:.6e} {z:.6e}\n" for x, y, z in triangle)
            for triangle in corners
        ]
        return ("solid face\n" + "".join(f"{loop}endloop\nendfacet\n" for loop in loops) + "endsolid face\n").encode()
    facets = [struct.pack("<12fH", 0, 0, 1, *triangle.ravel(), 0) for triangle in corners]
    return b"solid, but binary".ljust(80) + struct.pack("<I", len(facets)) + b"".join(facets)


def gltf(
    *, binary: bool = True, image: bytes | None = None, colours: bool = False, node: dict | None = None, **extra
) -> bytes:
    """GLB, or glTF with its buffer embedded. Metres, as the format wants; `extra` replaces parts of the JSON."""
    parts = [(POINTS / 1000).astype("<f4"), UV.astype("<f4"), TRIANGLES.astype("<u2").ravel(), COLOURS.astype("u1")]
    blobs = [part.tobytes() + b"\0" * (-part.nbytes % 4) for part in parts] + ([image] if image else [])
    starts = np.cumsum([0, *map(len, blobs)]).tolist()
    views = [{"buffer": 0, "byteOffset": at, "byteLength": len(blob)} for at, blob in zip(starts, blobs, strict=False)]
    kinds = [(5126, len(POINTS), "VEC3"), (5126, len(UV), "VEC2"), (5123, TRIANGLES.size, "SCALAR")]
    kinds.append((5121, len(COLOURS), "VEC3"))
    accessors = [
        {
            "bufferView": k,
            "componentType": kind,
            "count": count,
            "type": shape,
            **({"normalized": True} if k == 3 else {}),
        }
        for k, (kind, count, shape) in enumerate(kinds)
    ]
    attributes = {"POSITION": 0, "TEXCOORD_0": 1, **({"COLOR_0": 3} if colours else {})}
    primitive = {"attributes": attributes, "indices": 2, **({"material": 0} if image else {})}
    data = b"".join(blobs)
    buffer = {"byteLength": len(data)}
    if not binary:
        buffer["uri"] = "data:application/octet-stream;base64," + base64.b64encode(data).decode()
    content = {
        "asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}], "nodes": [{"mesh": 0, **(node or {})}],
        "meshes": [{"primitives": [primitive]}], "accessors": accessors, "bufferViews": views, "buffers": [buffer],
    }  # fmt: skip
    if image:
        content["materials"] = [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}]
        content["textures"], content["images"] = [{"source": 0}], [{"bufferView": 4, "mimeType": "image/png"}]
    text = json.dumps(content | extra).encode()
    return glb(text, data) if binary else text


def glb(text: bytes, data: bytes) -> bytes:
    """The two chunks of a GLB file."""
    text, data = text + b" " * (-len(text) % 4), data + b"\0" * (-len(data) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(data), b"BIN\0") + data
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks
