"""Feeds the readers damaged files: whatever stands in a file, they return what they promise or raise their own error.

    python -m benchmarks.fuzz_readers --mutations=20000

Scans of both databases and meshes of every format with their pictures and landmarks, and files of ResNet18 weights.
Prints, per kind of file, how many of the mutations were read and refused, the slowest read and the most memory, and
exits with 1 if a reader ever raised anything else, warned, or returned a scan that breaks Scan's promises. Kinds
whose library is missing (PyTorch for .pth) are left out.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import random
import sys
import tempfile
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import safetensors.numpy

from afnet_jax.commands.command_line import command_parser
from afnet_jax.errors import AFNetError, WeightsError
from afnet_jax.models.weight_files import read_weights
from afnet_jax.scans import Scan, ScanError, bosphorus, bu3dfe, read_scan
from afnet_jax.scans.scan import LANDMARKS
from tests.support import mesh_files
from tests.support.dome import as_bu3dfe, dome

SLOWEST_SECONDS = 5.0  # on a machine that does other things, too
MOST_BYTES = 64 * 2**20  # the base files are small; what a header merely announces must not be allocated


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Damages bytes in one of the ways that files get damaged, or that a hostile hand would choose."""
    return rng.choice(_MUTATIONS)(bytearray(data), rng)


def _flip_bits(data: bytearray, rng: random.Random) -> bytes:
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def _flip_head(data: bytearray, rng: random.Random) -> bytes:
    for _ in range(rng.choice((1, 2, 4))):
        data[rng.randrange(min(60, len(data)))] = rng.choice((0, 1, 127, 128, 254, 255, rng.randrange(256)))
    return bytes(data)


def _cut_short(data: bytearray, rng: random.Random) -> bytes:
    return bytes(data[: rng.randrange(len(data))])


def _slice(data: bytearray, rng: random.Random) -> slice:
    start = rng.randrange(len(data))
    return slice(start, start + rng.choice((1, 2, 8, 64, 1024)))


def _delete(data: bytearray, rng: random.Random) -> bytes:
    del data[_slice(data, rng)]
    return bytes(data)


def _repeat(data: bytearray, rng: random.Random) -> bytes:
    part = _slice(data, rng)
    return bytes(data[: part.start] + data[part] * rng.choice((2, 3, 200)) + data[part.stop :])


def _scramble(data: bytearray, rng: random.Random) -> bytes:
    part = _slice(data, rng)
    data[part] = rng.choice((rng.randbytes, lambda n: b"\0" * n, lambda n: b"\xff" * n))(len(data[part]))
    return bytes(data)


_EVIL = (
    b"nan",
    b"-inf",
    b"1e999",
    b"-1",
    b"-2",
    b"99999999",
    b"9" * 30,
    b"9" * 5000,
    b"1e400,",
    b"[",
    b"]",
    b"{",
    b"}",
)
_EVIL += (
    b'"',
    b"#",
    b"\r",
    b"\n\n",
    b"../../x.bmp",
    b"/etc/passwd",
    b"DEF a USE a",
    b"[" * 500,
    b"Shape {" * 500,
    b"0",
)
_EVIL += (
    b"\0" * 8,
    b"\xf0\x7f",
    b"\0\0\0\0\0\0\xf8\x7f",
    b"\xff" * 8,
    b"'",
    b"\\",
    b"%s",
    b"1000 landmarks:",
    b"1.5",
    b"e",
)


def _insert_evil(data: bytearray, rng: random.Random) -> bytes:
    part = _slice(data, rng)
    data[part.start : part.start + rng.choice((0, 1, 8))] = rng.choice(_EVIL)
    return bytes(data)


def _replace_word(data: bytearray, rng: random.Random) -> bytes:
    words = bytes(data).split(b" ")
    words[rng.randrange(len(words))] = rng.choice(_EVIL)
    return b" ".join(words)


_MUTATIONS = (_flip_bits, _flip_head, _cut_short, _delete, _repeat, _scramble, _insert_evil, _replace_word)


def check_promises(scan: Scan) -> None:
    """Asserts what Scan's docstring promises."""
    assert np.isfinite(scan.points).all() and scan.points.dtype == np.float64
    assert scan.triangles.shape == scan.uv_triangles.shape and scan.triangles.dtype == np.int32
    assert scan.triangles.min() >= 0 and scan.triangles.max() < len(scan.points)
    assert scan.uv_triangles.min() >= 0 and scan.uv_triangles.max() < len(scan.uv)
    assert scan.uv.min() >= 0 and scan.uv.max() <= 1 and scan.uv.dtype == np.float32
    assert scan.texture.ndim == 3 and scan.texture.shape[2] == 3 and scan.texture.dtype == np.uint8
    assert all(at.shape == (3,) and np.isfinite(at).all() for at in scan.landmarks.values())
    assert scan.grid is None or np.array_equal(np.sort(scan.grid[scan.grid >= 0]), np.arange(len(scan.points)))


@dataclasses.dataclass
class Tally:
    """What became of the mutations of one kind of file."""

    read: int = 0
    refused: int = 0
    crashes: list[str] = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    bytes: int = 0


@dataclasses.dataclass(frozen=True)
class _Target:
    """A file to damage, and what reads it.

    Attributes:
        file: the one that is damaged.
        read: reads it, or the scan that it belongs to, and asserts what is promised of the result.
        refusal: the error that it may raise.
        name: what the path in that error begins with.
        kind: under which its tally stands.
    """

    file: Path
    read: Callable[[], None]
    refusal: type[AFNetError]
    name: str
    kind: str


def _scan_targets(folder: Path) -> list[_Target]:
    mesh, grid = bu3dfe.write_scan(as_bu3dfe(dome()), folder), bosphorus.write_scan(dome(), folder)
    return [
        _scan_target(path, path.with_suffix(suffix), path.name[:6], suffix)
        for path, suffixes in ((mesh, (".wrl", ".bnd", ".bmp")), (grid, (".bnt", ".lm3", ".png")))
        for suffix in suffixes
    ]


def _mesh_targets(folder: Path) -> list[_Target]:
    """Every mesh format, in every encoding it has, and what may stand beside a mesh."""
    obj = mesh_files.write_obj(folder)
    landmarks = {name: at.tolist() for name, at in mesh_files.SURFACE.landmarks.items() if name in LANDMARKS}
    (folder / "face.landmarks.json").write_text(json.dumps(landmarks), encoding="utf-8")
    targets = [_scan_target(obj, folder / f"face{suffix}", "face", f"face{suffix}") for suffix in _BESIDE_OBJ]
    for name, data in mesh_bytes().items():
        (folder / name).write_bytes(data)
        targets.append(_scan_target(folder / name, folder / name, name, name))
    return targets


_BESIDE_OBJ = (".obj", ".mtl", ".png", ".landmarks.json")


def mesh_bytes() -> dict[str, bytes]:
    """Name -> content of meshes that are one file each."""
    picture = mesh_files.picture("JPEG")
    forms = {"ascii": "ascii", "little": "binary_little_endian", "big": "binary_big_endian"}
    mixed = [*mesh_files.TRIANGLES.tolist(), [0, 1, 2, 3]]
    return {
        **{f"{name}.ply": mesh_files.ply(form) for name, form in forms.items()},
        "polygons.ply": mesh_files.ply("binary_little_endian", faces=mixed),
        "cloud.ply": mesh_files.ply("binary_little_endian", faces=[], points=mesh_files.dense()),
        "embedded.glb": mesh_files.gltf(image=picture),
        "embedded.gltf": mesh_files.gltf(binary=False, image=picture),
        "binary.stl": mesh_files.stl(),
        "text.stl": mesh_files.stl("ascii"),
    }


def _scan_target(scan: Path, file: Path, name: str, kind: str) -> _Target:
    return _Target(file, lambda: check_promises(read_scan(scan)), ScanError, name, kind)


def _weight_targets(folder: Path) -> list[_Target]:
    """The names of a ResNet18 with small tensors: what is read whole is refused for its shapes, never accepted."""
    tensors = {
        name: np.random.default_rng(0).normal(size=shape).astype(np.float32)
        for name, shape in {"conv1.weight": (4, 3, 3, 3), "bn1.weight": (4,), "bn1.running_var": (4,)}.items()
    }
    safe, pickled = folder / "weights.safetensors", folder / "weights.pth"
    safetensors.numpy.save_file(tensors, safe)
    files = [safe]
    try:
        import torch
    except ImportError:
        pass
    else:
        torch.save({name: torch.from_numpy(array) for name, array in tensors.items()}, pickled)
        files.append(pickled)
    return [_Target(path, lambda path=path: _refuse(path), WeightsError, str(path), path.suffix) for path in files]


def _refuse(path: Path) -> None:
    read_weights(path)
    raise AssertionError("weights of another network were taken for a ResNet18's")


_MAKERS = {"databases": _scan_targets, "meshes": _mesh_targets, "weights": _weight_targets}


def fuzz(mutations: int, seed: int = 0, groups: Iterable[str] = tuple(_MAKERS)) -> dict[str, Tally]:
    """Reads `mutations` damaged files of each kind that a reader opens; tallies by suffix, of meshes by name."""
    tallies = collections.defaultdict(Tally)
    with tempfile.TemporaryDirectory() as folder:
        targets = [target for group in groups for target in _MAKERS[group](_made(Path(folder, group)))]
        originals = {target.file: target.file.read_bytes() for target in targets}
        for k in range(mutations):
            for target in targets:
                kind = target.kind
                target.file.write_bytes(mutate(originals[target.file], random.Random(f"{seed}:{kind}:{k}")))
                _try(target, tallies[kind], f"mutation {k} of {kind}")
                target.file.write_bytes(originals[target.file])
    return dict(tallies)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _try(target: _Target, tally: Tally, name: str) -> None:
    tracemalloc.start()
    start = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            target.read()
        tally.read += 1
    except target.refusal as error:
        tally.refused += 1
        path = error.path.name if isinstance(error, ScanError) else str(error)
        if "\n" in str(error) or not path.startswith(target.name):
            tally.crashes.append(f"{name}: not one line about the file at fault: {error!r}")
    except Exception as error:  # the very thing looked for
        tally.crashes.append(f"{name}: {error!r}")
    tally.seconds = max(tally.seconds, time.perf_counter() - start)
    tally.bytes = max(tally.bytes, tracemalloc.get_traced_memory()[1])
    tracemalloc.stop()


def main() -> int:
    parser = command_parser(__doc__)
    parser.add_argument("--mutations", type=int, default=20_000, help="damaged files of each kind (default: 20000)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the damages (default: 0)")
    parser.add_argument("--only", nargs="+", choices=list(_MAKERS), help="damage these alone (default: all)")
    arguments = parser.parse_args()
    tallies = fuzz(arguments.mutations, arguments.seed, arguments.only or _MAKERS)
    for kind, tally in tallies.items():
        figures = f"{tally.read} read, {tally.refused} refused, {len(tally.crashes)} crashes"
        print(f"{kind}: {figures}, slowest {tally.seconds * 1e3:.0f} ms, most memory {tally.bytes / 2**20:.1f} MiB")
    crashes = [crash for tally in tallies.values() for crash in tally.crashes]
    print(*crashes[:20], sep="\n", end="\n" if crashes else "")
    bounded = all(tally.seconds < SLOWEST_SECONDS and tally.bytes < MOST_BYTES for tally in tallies.values())
    return 0 if bounded and not crashes else 1


if __name__ == "__main__":
    sys.exit(main())
