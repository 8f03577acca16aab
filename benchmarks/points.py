"""Maps rendered from raw points, measured beside those of the host's pipeline and beside known surfaces.

    python -m benchmarks.points errors --raw=DIR --json=benchmarks/points-errors.json
    python -m benchmarks.points speed --raw=DIR --json=benchmarks/points-speed-cpu.json
    python -m benchmarks.points picture --raw=DIR --out=docs/points.png

errors: every scan below a folder with its truth beside it (NAME_truth.npz), at 224 px: the figures of
afnet_jax/quality/evaluation.py for both pipelines; how alike their textures (SSIM) and faces and masks (intersection
over union) are. speed: scans per second of the host's preprocessing, in two processes, and of rendering in batches, in
turn; and the share of a training step that rendering with every augmentation takes. picture: the maps of both, side by
side. Exit code 0: measured; 1: a bound that docs/points.md promises is missed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import multiprocessing
import statistics
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import jax
import numpy as np

from afnet_jax.commands.command_line import command_parser, report_faults
from afnet_jax.datasets.records import landmark_array
from afnet_jax.errors import AFNetError
from afnet_jax.huge_pages import start_with_huge_pages
from afnet_jax.maps import Clouds, Faces, Maps
from afnet_jax.paths import user_path
from afnet_jax.points.augmentation import render_augmented
from afnet_jax.points.clouds import cloud_of, stack_clouds
from afnet_jax.points.rendering import render, render_all
from afnet_jax.preprocessing import FaceMaps, preprocess
from afnet_jax.quality.evaluation import evaluate, ssim
from afnet_jax.quality.truth import read_truth, truth_path
from afnet_jax.scans import Scan, read_scan
from afnet_jax.scans.databases import is_scan, readable_databases, scans_of
from afnet_jax.training.step import Trainer
from benchmarks.programs import Shape

_BATCH = 16
_FIGURES = ("inner_median", "inner_rmse", "inner_p95", "whole_rmse", "hole_rmse", "near_spike_rmse", "covered", "ssim")
# What docs/points.md promises: figure -> bound, and whether it is the least that is right.
BOUNDS = {
    "inner_median": (0.25, False),
    "inner_rmse": (0.6, False),
    "texture_ssim": (0.93, True),
    "face_iou": (0.95, True),
    "mask_iou": (0.95, True),
}
LEAST_SPEEDUP = {64: 10.0, 224: 3.0}
MOST_SHARE = 0.15  # of a training step at 64 px


def _found(raw: Path, with_truth: bool) -> list[Path]:
    paths = sorted(path for path in raw.rglob("*") if is_scan(path, readable_databases()))
    paths = [path for path in paths if truth_path(path).exists() or not with_truth]
    if not paths:
        raise AFNetError(f"{raw}: found no scans with a truth beside them, expected {scans_of(readable_databases())}")
    return paths


def cloud(host: FaceMaps) -> Clouds:
    """The points of one scan that preprocessing has sampled, as a batch of one."""
    assert host.points is not None  # preprocessing draws them
    return stack_clouds([cloud_of(host.points, host.to_scan, landmark_array(host.landmarks))])


def _iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


def measure_errors(path: Path) -> dict[str, float]:
    """Both pipelines' figures against the truth beside a scan, and how alike their maps are."""
    scan, truth = read_scan(path), read_truth(truth_path(path))
    host = preprocess(scan)
    maps = jax.tree.map(lambda m: m[0], render_all(cloud(host), 224))
    depth = maps.depth[..., 0].astype(np.float32)
    valid = np.isfinite(depth)
    device = dataclasses.replace(host, depth=depth, valid=valid, texture=maps.texture)
    figures = evaluate(scan, device, truth)
    reference = evaluate(scan, host, truth)
    masks = np.concatenate([maps.mask1.ravel(), maps.mask2.ravel()]) > 0.5
    theirs = np.concatenate([host.masks[56].ravel(), host.masks[28].ravel()]) > 0.5
    alike = {
        "texture_ssim": ssim(maps.texture.astype(float), host.texture.astype(float), valid & host.valid),
        "face_iou": _iou(valid, host.valid),
        "mask_iou": _iou(masks, theirs),
    }
    return {name: figures[name] for name in _FIGURES} | {f"host_{n}": reference[n] for n in _FIGURES} | alike


def benchmark_errors(raw: Path) -> tuple[list[dict], bool]:
    """A row for each scan, then median and worst; whether every bound is kept by the median of all scans."""
    rows = [{"scan": path.stem} | measure_errors(path) for path in _found(raw, with_truth=True)]
    for row in rows:
        print("  ".join(f"{k} {v:.3f}" if isinstance(v, float) else f"{v:24s}" for k, v in row.items()), flush=True)
    good = True
    for name in [key for key in rows[0] if key != "scan"]:
        values = np.array([row[name] for row in rows])
        values = values[np.isfinite(values)]
        higher = name.endswith(("ssim", "iou", "covered"))
        median, worst = float(np.median(values)), float(values.min() if higher else values.max())
        told = ""
        if name in BOUNDS:
            bound, least = BOUNDS[name]
            kept = median >= bound if least else median <= bound
            beyond = int(((values < bound) if least else (values > bound)).sum())
            told = f"   bound {bound:g}: {'kept' if kept else 'MISSED'}, {beyond} of {len(values)} scans beyond it"
            good &= kept
        print(f"{name:22s} median {median:.3f}   worst {worst:.3f}{told}")
    return rows, good


def benchmark_speed(raw: Path, *, repeats: int, processes: int) -> tuple[list[dict], bool]:
    """The host's preprocessing and rendering at 64 and 224 px in turn; then a training step with and without rendering.

    Scans are read before the clock starts. Medians of `repeats` rounds.
    """
    scans = [read_scan(path) for path in _found(raw, with_truth=False)][:_BATCH]
    scans = (scans * _BATCH)[:_BATCH]
    clouds = stack_clouds([jax.tree.map(lambda a: a[0], cloud(preprocess(scan))) for scan in scans])
    programs = {size: jax.jit(render, static_argnums=1).lower(clouds, size).compile() for size in LEAST_SPEEDUP}
    rates: dict[str, list[float]] = {}
    spawned = multiprocessing.get_context("spawn")  # JAX has threads, which a fork would freeze
    with ProcessPoolExecutor(processes, spawned, initializer=_one_thread) as pool:
        list(pool.map(_seconds_of_preprocessing, scans))
        for _ in range(repeats):
            start = time.perf_counter()
            list(pool.map(_seconds_of_preprocessing, scans))
            rates.setdefault("host", []).append(len(scans) / (time.perf_counter() - start))
            for size, program in programs.items():
                jax.block_until_ready(program(clouds))
                start = time.perf_counter()
                jax.block_until_ready([program(clouds) for _ in range(3)])
                rates.setdefault(f"{size} px", []).append(3 * len(scans) / (time.perf_counter() - start))
    host = statistics.median(rates["host"])
    rows = [{"what": "the host's preprocessing", "scans_per_second": host}]
    good = True
    for size, least in LEAST_SPEEDUP.items():
        rate = statistics.median(rates[f"{size} px"])
        rows.append({"what": f"rendering, {size} px", "scans_per_second": rate, "times_the_host": rate / host})
        good &= rate / host >= least
    share = share_of_a_step(clouds, repeats, image_size=64, dtype="float32")
    rows.append(share)
    for row in rows:
        print("  ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()), flush=True)
    return rows, good and share["rendering_share_of_a_step"] <= MOST_SHARE


def _one_thread() -> None:
    import threadpoolctl

    threadpoolctl.threadpool_limits(1)


def _seconds_of_preprocessing(scan: Scan) -> float:
    start = time.perf_counter()
    preprocess(scan)
    return time.perf_counter() - start


def share_of_a_step(clouds: Clouds, repeats: int, *, image_size: int, dtype: str, calls: int = 1) -> dict:
    """A training step of one AFNet-M, and rendering with every augmentation measured alone, in turn.

    Args:
        clouds: the scans of a batch.
        repeats: rounds, of which medians are taken.
        image_size: edge of the images, pixels.
        dtype: of the computation.
        calls: how many are timed together; on a GPU one alone is over before the next is sent.
    """
    config = Shape("cpu", image_size=image_size, dtype=dtype, source="points").config  # on every platform
    trainer = Trainer(config)
    state = trainer.init(jax.random.key(0))
    batch = len(clouds.colours)
    indices = np.arange(batch, dtype=np.int32)
    keys = jax.random.split(jax.random.key(1), batch)
    faces = Faces(clouds, labels=np.arange(batch, dtype=np.int32) % 6)
    rendered = Faces(Maps(*render_all(clouds, image_size)), faces.labels)
    faces, rendered, indices, keys, state = jax.device_put((faces, rendered, indices, keys, state))
    step = jax.jit(trainer.train_step)
    view = jax.jit(lambda clouds, keys: render_augmented(clouds, keys, image_size, (), config.train.augment))
    contenders = {
        "step_from_points": lambda: step(state, faces, indices, keys[0])[1],
        "step_from_maps": lambda: step(state, rendered, indices, keys[0])[1],
        "rendering": lambda: view(faces.maps, keys),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for call in contenders.values():
        jax.block_until_ready(call())
    for _ in range(repeats):
        for name, call in contenders.items():
            jax.block_until_ready(call())
            start = time.perf_counter()
            jax.block_until_ready([call() for _ in range(calls)])
            seconds[name].append((time.perf_counter() - start) / calls)
    median = {name: statistics.median(each) for name, each in seconds.items()}
    return {
        "what": f"a training step at {image_size} px",
        **{f"{name}_ms_per_scan": 1000 * value / batch for name, value in median.items()},
        "rendering_share_of_a_step": median["rendering"] / median["step_from_points"],
    }


def draw_picture(raw: Path, out: Path) -> None:
    """Maps of both pipelines and what differs between them, a row for each of a few scans."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    paths = _found(raw, with_truth=False)
    paths = paths[:: max(1, len(paths) // 4)][:4]
    figure, axes = plt.subplots(len(paths), 6, figsize=(13, 2.3 * len(paths)), squeeze=False, layout="constrained")
    titles = ("points, as stored", "host: texture", "points: texture", "host: depth", "points: depth", "difference, mm")
    for row, path in zip(axes, paths, strict=True):
        host = preprocess(read_scan(path))
        own = cloud(host)
        maps = jax.tree.map(lambda m: m[0], render_all(own, 224))
        depth = maps.depth[..., 0].astype(np.float32)
        _draw_points(row[0], own)
        row[1].imshow(host.texture)
        row[2].imshow(maps.texture)
        for axis, each in ((row[3], host.depth), (row[4], depth)):
            axis.imshow(each, vmin=-70, vmax=45, cmap="viridis")
        shown = row[5].imshow(depth - host.depth, vmin=-2, vmax=2, cmap="coolwarm")
        figure.colorbar(shown, ax=row[5], shrink=0.8)
        row[0].set_ylabel(path.stem, fontsize=7)
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=9)
    for axis in axes.ravel():
        axis.set_xticks([]), axis.set_yticks([])
    figure.savefig(out, dpi=90)


def _draw_points(axis, own: Clouds) -> None:
    from afnet_jax.points.visibility import canonical

    points = np.stack(canonical(own), axis=-1)[0]
    order = np.argsort(points[:, 2])
    axis.scatter(*points[order, :2].T, c=own.colours[0][order] / 255, s=0.3, linewidths=0)
    axis.set_xlim(-117, 117), axis.set_ylim(-145, 90), axis.set_aspect("equal")


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(__doc__)
    kinds = parser.add_subparsers(dest="what", required=True)
    for name in ("errors", "speed", "picture"):
        kind = kinds.add_parser(name)
        kind.add_argument("--raw", type=user_path, required=True, help="folder of scans, searched at any depth")
        if name == "picture":
            kind.add_argument("--out", type=user_path, required=True, help="PNG to write")
        else:
            kind.add_argument("--json", type=user_path, required=True, help="file to write")
        if name == "speed":
            kind.add_argument("--repeats", type=int, default=5, help="rounds, of which medians are taken")
            kind.add_argument("--processes", type=int, default=2, help="of the host's preprocessing")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    given = _parser().parse_args(arguments)
    missed = False

    def measure() -> None:
        nonlocal missed
        if given.what == "picture":
            return draw_picture(given.raw, given.out)
        if given.what == "errors":
            rows, good = benchmark_errors(given.raw)
        else:
            start_with_huge_pages()  # as every run does
            rows, good = benchmark_speed(given.raw, repeats=given.repeats, processes=given.processes)
        missed = not good
        content = {"command": f"{given.what}", "rows": rows}
        given.json.write_text(json.dumps(content, indent=1).replace("NaN", "null") + "\n", encoding="utf-8")
        return None

    return report_faults(measure) or int(missed)


if __name__ == "__main__":
    sys.exit(main())
