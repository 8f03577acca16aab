"""Tells whether what holds no face is refused in one line: surfaces of other things, and damaged mesh files.

    python -m benchmarks.refusals [--non_faces=500] [--broken=500]

Things are such as the detector saw in training, drawn from another seed, and, three times as often, others: noise,
boxes, balls, rods, rings, hands, the backs of heads, ears.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import scipy.spatial
from scipy.spatial.transform import Rotation

from afnet_jax.errors import AFNetError
from afnet_jax.landmarks import bodies, find_landmarks
from afnet_jax.preprocessing import preprocess
from afnet_jax.scans import read_scan
from afnet_jax.scans.scan import Scan, ScanId
from benchmarks.fuzz_readers import mesh_bytes, mutate

Mesh = bodies.Mesh


def noise(rng: np.random.Generator) -> Mesh:
    points = rng.normal(0, rng.uniform(20, 90, 3), (rng.integers(200, 3000), 3))
    if rng.random() < 0.5:
        return points, rng.integers(0, len(points), (2 * len(points), 3))
    return points, scipy.spatial.Delaunay(points[:, :2]).simplices


def box(rng: np.random.Generator) -> Mesh:
    return bodies.blob((0, 0, 0), rng.uniform(20, 130, 3), rng, rng.uniform(0, 0.01), 0.1)


def ball(rng: np.random.Generator) -> Mesh:
    return bodies.blob((0, 0, 0), rng.uniform(40, 140) * rng.uniform(0.8, 1.2, 3), rng, rng.uniform(0, 0.03))


def rod(rng: np.random.Generator) -> Mesh:
    return bodies.blob((0, 0, 0), (rng.uniform(10, 60), rng.uniform(80, 200), rng.uniform(10, 60)), rng, 0.01, 0.5)


def ring(rng: np.random.Generator) -> Mesh:
    large, small = rng.uniform(40, 90), rng.uniform(8, 35)
    balls = [
        bodies.blob((large * np.cos(angle), large * np.sin(angle), 0), np.full(3, small), rng, 0.0)
        for angle in np.linspace(0, 2 * np.pi, 24, endpoint=False)
    ]
    return bodies.joined(balls)


def hand(rng: np.random.Generator) -> Mesh:
    """A palm, four fingers and a thumb, open or half closed."""
    parts = [bodies.blob((0, 0, 0), (42, 50, 15), rng, 0.03, 0.6)]
    for k in range(4):
        bent, length = rng.uniform(0, 70), rng.uniform(32, 44)
        points, triangles = bodies.blob((0, length, 0), (9, length, 9), rng, 0.03, 0.7)
        turned = Rotation.from_euler("xz", [bent, rng.normal(0, 6)], degrees=True).apply(points)
        parts.append((turned + np.array([21 * (k - 1.5), 45, 0]), triangles))
    points, triangles = bodies.blob((0, 32, 0), (11, 34, 11), rng, 0.03, 0.7)
    turned = Rotation.from_euler("xz", [rng.uniform(0, 40), rng.uniform(35, 60)], degrees=True).apply(points)
    parts.append((turned + np.array([-36, -25, 5]), triangles))
    return bodies.joined(parts)


def head_from_behind(rng: np.random.Generator) -> Mesh:
    """All of a head but its face, seen from the back."""
    around = bodies.surroundings(1.0, rng)
    skull = bodies.blob((0, 18, -104), rng.normal([78, 106, 94], [5, 8, 8]), rng, rng.uniform(0.005, 0.06))
    points, triangles = bodies.joined([skull, *around])
    turn = Rotation.from_euler("y", 180, degrees=True).as_matrix()
    turned = points @ turn.T
    front = turned[triangles].mean(axis=1)[:, 2] > np.median(turned[:, 2]) - 40
    return turned, triangles[front]


def ear(rng: np.random.Generator) -> Mesh:
    return bodies.blob((0, 0, 0), rng.normal([7, 31, 18], [1.5, 3, 3]), rng, 0.09)


KINDS = (noise, box, ball, rod, ring, hand, head_from_behind, ear)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--non_faces", type=int, default=500, help="surfaces that are no face's (default: 500)")
    parser.add_argument("--broken", type=int, default=500, help="damaged mesh files (default: 500)")
    parser.add_argument("--seed", type=int, default=1, help="(default: 1)")
    given = parser.parse_args()
    faults = _things(given.non_faces, given.seed) + _files(given.broken, given.seed)
    print(*faults[:20], sep="\n", end="\n" if faults else "")
    return 1 if faults else 0


def _things(count: int, seed: int) -> list[str]:
    taken: Counter[str] = Counter()
    shown: Counter[str] = Counter()
    faults = []
    for k in range(count):
        rng = np.random.default_rng([seed, k, 0x3C])
        kind = bodies.thing if k % 4 == 0 else KINDS[(k - k // 4 - 1) % len(KINDS)]
        points, triangles = kind(rng)
        points = (points - points.mean(axis=0)) @ Rotation.random(random_state=rng).as_matrix().T
        shown[kind.__name__] += 1
        if fault := _not_refused(lambda: find_landmarks(_scan(points, triangles))):  # noqa: B023  called at once
            taken[kind.__name__] += 1
            faults.append(f"thing {k}, {kind.__name__}: {fault}")
    print(f"things that are no face: {count} ({dict(shown)}), refused in one line: {count - sum(taken.values())}")
    return faults


def _scan(points: np.ndarray, triangles: np.ndarray) -> Scan:
    triangles = triangles.astype(np.int32)
    uv, picture = np.full((len(points), 2), 0.5, np.float32), np.zeros((2, 2, 3), np.uint8)
    return Scan(ScanId("none", "none", "", None, None, "thing"), points, triangles, uv, triangles, picture, {})


def _files(count: int, seed: int) -> list[str]:
    """Damages files of a dome, which is no face: whether it can still be read or not, each has to be refused."""
    originals = list(mesh_bytes().items())
    faults = []
    with tempfile.TemporaryDirectory() as folder:
        for k in range(count):
            name, data = originals[k % len(originals)]
            path = Path(folder, name)
            path.write_bytes(mutate(data, random.Random(f"{seed}:{name}:{k}")))
            if fault := _not_refused(lambda: preprocess(read_scan(path))):  # noqa: B023  called at once
                faults.append(f"file {k}, {name}: {fault}")
    print(f"damaged mesh files: {count}, refused in one line: {count - len(faults)}")
    return faults


def _not_refused(call) -> str:
    """Returns what happens instead of a refusal in one line; "" where that is what happens."""
    try:
        call()
    except AFNetError as error:
        return "" if len(str(error).splitlines()) == 1 else f"several lines: {error}"
    except Exception as error:  # the very thing looked for
        return repr(error)
    return "taken for a face"


if __name__ == "__main__":
    sys.exit(main())
