"""Trains both networks on views of synthetic heads; the same seed gives the same examples in the same order."""

from __future__ import annotations

import concurrent.futures
import functools
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from afnet_jax.landmarks import views
from afnet_jax.landmarks.detector import height_at
from afnet_jax.landmarks.disturbances import MIRRORED, disturbed, glasses
from afnet_jax.landmarks.examples import MARGIN, Views, load_views, make_views
from afnet_jax.landmarks.network import CELL, HEIGHT_UNIT, FaceFinder, LandmarkFinder, at_cells, features
from afnet_jax.landmarks.plausibility import fitted_prior
from afnet_jax.landmarks.weights import Detector

_BATCH = 32
_PEAK_RATE, _DECAY = 2e-3, 1e-4
_COARSE_CROP = 64  # pixels
_SIGMA = 1.0  # cells, of the target heatmaps
_MEASURED = 24  # batches whose errors are measured once the network is trained

Batch = tuple[np.ndarray, ...]


def train_detector(folder: Path, heads: int, steps: Mapping[str, int], seed: int, workers: int) -> Detector:
    """Makes the views of so many heads in a folder and trains both networks on them.

    Args:
        folder: where the views are kept.
        steps: "coarse" and "fine" -> optimizer steps.
        workers: processes that make views.
    """
    data = load_views(make_views(heads, seed, folder, workers), heads, seed)
    coarse = train_face_finder(data, steps["coarse"], seed)
    fine = train_landmark_finder(data, steps["fine"], seed)
    return Detector(coarse, fine, fitted_prior(data["landmarks"], errors_of(fine, data, seed), seed))


def train_landmark_finder(data: Views, steps: int, seed: int, report: Callable = print) -> LandmarkFinder:
    """Trains the fine network for so many steps of 32 views."""
    net = LandmarkFinder(rngs=nnx.Rngs(seed))
    return _trained(net, functools.partial(_fine_batch, data), views.FINE_STEP, _fine_loss, steps, seed, report)


def train_face_finder(data: Views, steps: int, seed: int, report: Callable = print) -> FaceFinder:
    """Trains the coarse network for so many steps of 32 views."""
    net = FaceFinder(rngs=nnx.Rngs(seed))
    return _trained(net, functools.partial(_coarse_batch, data), views.COARSE_STEP, _coarse_loss, steps, seed, report)


def errors_of(net: LandmarkFinder, data: Views, seed: int) -> np.ndarray:
    """Returns the (N, 22, 3) mm that a trained network is off on its own heads, disturbed anew; heights included."""
    found = []
    for number in range(_MEASURED):
        rng = np.random.default_rng([seed, number, 0x5E])
        for depth, pixels, place in zip(*_seen_again(net, data, rng), strict=True):
            (true, seen), off = (height_at(depth, at)[0] for at in (place, pixels)), (pixels - place) * [1, -1]
            found.append(np.column_stack([off * views.FINE_STEP, seen - true]))
    return np.array(found)


def _seen_again(net: LandmarkFinder, data: Views, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Depths, placed pixels and true ones of a batch's views that show a whole face."""
    depth, places, is_face = _fine_batch(data, rng)
    pixels = np.asarray(net(features(depth, views.FINE_STEP)[0])[0])
    whole = (is_face > 0) & ((places > 0) & (places < depth.shape[1] - 1)).all(axis=(1, 2))
    return depth[whole], pixels[whole], places[whole]


def _trained(net, make_batch, step_mm: float, loss_of, steps: int, seed: int, report: Callable):
    schedule = optax.warmup_cosine_decay_schedule(0.0, _PEAK_RATE, min(200, steps // 10), steps)
    rule = optax.chain(optax.clip_by_global_norm(5.0), optax.adamw(schedule, weight_decay=_DECAY))
    optimizer = nnx.Optimizer(net, rule, wrt=nnx.Param)

    @nnx.jit(donate_argnums=(0, 1))
    def step(net, optimizer, seen, wanted):
        (_, parts), grads = nnx.value_and_grad(loss_of, has_aux=True)(net, *seen, *wanted)
        optimizer.update(net, grads)
        return parts

    net.train()
    start, sums = time.monotonic(), None
    for number, (depth, *wanted) in enumerate(_ahead(make_batch, steps, seed), start=1):
        parts = step(net, optimizer, features(depth, step_mm), wanted)
        sums = parts if sums is None else jax.tree.map(jnp.add, sums, parts)
        if number % 100 == 0 or number == steps:
            count = number % 100 or 100
            shown = "  ".join(f"{name} {float(value) / count:.3f}" for name, value in sums.items())
            spent = time.monotonic() - start
            left = spent / number * (steps - number)
            report(f"step {number}/{steps}  {shown}  {spent:.0f} s, about {left:.0f} s left")
            sums = None
    net.eval()
    return net


def _ahead(make_batch: Callable[[np.random.Generator], Batch], steps: int, seed: int) -> Iterator[Batch]:
    """Yields batches, each drawn from its own number, made in a thread while the last one is learnt from."""
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        waiting = [thread.submit(make_batch, np.random.default_rng([seed, number])) for number in range(min(3, steps))]
        for number in range(steps):
            if number + 3 < steps:
                waiting.append(thread.submit(make_batch, np.random.default_rng([seed, number + 3])))
            yield waiting.pop(0).result()


def _fine_batch(data: Views, rng: np.random.Generator) -> Batch:
    """(B, 96, 96) mm, (B, 22, 2) pixels, (B,) whether there is a face."""
    chosen = rng.integers(len(data["fine"]), size=_BATCH)
    depths, places = [], []
    for k in chosen:
        depth, at = data["fine"][k].astype(np.float32), data["fine_places"][k]
        if rng.random() < 0.1:
            depth = glasses(depth, at, views.FINE_STEP, rng)
        down, across = rng.integers(0, 2 * MARGIN + 1, 2)
        depth = depth[down : down + views.FINE_SIZE, across : across + views.FINE_SIZE]
        at = at - [across, down]
        depth = disturbed(depth, views.FINE_STEP, rng, at)
        if rng.random() < 0.5:
            depth, at = depth[:, ::-1], (at * [-1, 1] + [views.FINE_SIZE - 1, 0])[MIRRORED]
        depths.append(depth)
        places.append(at)
    return np.stack(depths), np.stack(places).astype(np.float32), data["fine_face"][chosen].astype(np.float32)


def _fine_loss(net: LandmarkFinder, inputs, _, places, is_face):
    found, heat, face = net(inputs)
    inside = ((places > -2) & (places < inputs.shape[1] + 1)).all(axis=-1) * is_face[:, None]
    off = jnp.abs(found - places)
    robust = jnp.where(off < 1, 0.5 * off**2, off - 0.5).sum(axis=-1)
    target = _spots(places, heat.shape[2:])
    cross = -(target * heat).sum(axis=(2, 3)) / jnp.maximum(target.sum(axis=(2, 3)), 1e-6)
    count = jnp.maximum(inside.sum(), 1.0)
    parts = {
        "mm": (jnp.sqrt((off**2).sum(axis=-1) + 1e-9) * inside).sum() / count * views.FINE_STEP,
        "cells": (cross * inside).sum() / count,
        "face": optax.sigmoid_binary_cross_entropy(face, is_face).mean(),
    }
    return (robust * inside).sum() / count + 0.1 * parts["cells"] + 0.5 * parts["face"], parts


def _spots(places: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """(B, K, h, w) Gaussian hills over the cells round (B, K, 2) pixels."""
    cell = (places + 0.5) / CELL - 0.5
    row, col = jnp.arange(shape[0])[:, None], jnp.arange(shape[1])[None, :]
    squared = (col - cell[..., :1, None]) ** 2 + (row - cell[..., 1:, None]) ** 2
    return jnp.exp(-0.5 * squared / _SIGMA**2)


def _coarse_batch(data: Views, rng: np.random.Generator) -> Batch:
    """(B, 64, 64) mm, (B, 3) pixels and mm (col, row, z), (B, 3, 3) rotations, (B,) whether there is a face."""
    chosen = rng.integers(len(data["coarse"]), size=_BATCH)
    depths, middles, turns = [], [], []
    most = data["coarse"].shape[1] - _COARSE_CROP
    for k in chosen:
        depth, middle = data["coarse"][k].astype(np.float32), data["coarse_middle"][k]
        turn = data["coarse_turn"][k]
        across, down = (middle[:2] - rng.uniform(10, _COARSE_CROP - 10, 2)).clip(0, most).astype(int)
        depth = disturbed(depth[down : down + _COARSE_CROP, across : across + _COARSE_CROP], views.COARSE_STEP, rng)
        middle = middle - [across, down, 0]
        if rng.random() < 0.5:
            flip = np.array([-1, 1, 1])
            depth, middle = depth[:, ::-1], middle * flip + [_COARSE_CROP - 1, 0, 0]
            turn = turn * flip[:, None] * flip
        depths.append(depth)
        middles.append(middle)
        turns.append(turn)
    found = np.stack(middles).astype(np.float32), np.stack(turns).astype(np.float32)
    return np.stack(depths), *found, data["coarse_face"][chosen].astype(np.float32)


def _coarse_loss(net: FaceFinder, inputs, mean, middle, turn, is_face):
    out = net(inputs)
    target = _spots(middle[:, None, :2], out.shape[1:3])[:, 0] * is_face[:, None, None]
    chance = jax.nn.sigmoid(out[..., 0])
    focus = (target - chance) ** 2
    heat = (focus * optax.sigmoid_binary_cross_entropy(out[..., 0], target)).sum() / len(inputs)
    near = jnp.where(target > 0.3, target, 0.0)
    near = near / jnp.maximum(near.sum(), 1e-6)
    wanted = _wanted(middle, turn, mean, out.shape[1:3])
    off = jnp.abs(out[..., 1:] - wanted)
    place = ((off[..., 0:2].sum(axis=-1) + off[..., 2]) * near).sum()
    angle = (off[..., 3:].sum(axis=-1) * near).sum()
    return heat + place + angle, {"heat": heat, "place": place, "turn": angle}


def _wanted(middle: jax.Array, turn: jax.Array, mean: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """(B, h, w, 9) what FaceFinder shall put out beside its logit."""
    cell = (middle[:, :2] + 0.5) / CELL - 0.5
    row, col = jnp.arange(shape[0])[:, None], jnp.arange(shape[1])[None, :]
    across, down = (cell[:, k, None, None] - at for k, at in ((0, col), (1, row)))
    height = (middle[:, 2, None, None] - at_cells(mean)) / HEIGHT_UNIT
    columns = jnp.broadcast_to(turn[:, None, None, :, :2].swapaxes(3, 4).reshape(-1, 1, 1, 6), (*height.shape, 6))
    return jnp.concatenate([jnp.stack([across + 0 * height, down + 0 * height, height], axis=-1), columns], axis=-1)
