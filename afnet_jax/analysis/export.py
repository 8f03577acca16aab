"""A trained network to take away: a StableHLO program (`jax.export`), its weights, and a page that explains both.

Whoever has JAX and safetensors can run it; nothing of this package is needed, see the description's "usage".
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict
from safetensors.numpy import save

import afnet_jax
from afnet_jax.analysis.run import Run
from afnet_jax.atomic_files import write_atomically, write_bytes_atomically
from afnet_jax.errors import RunError
from afnet_jax.maps import Clouds, Maps, maps_of
from afnet_jax.models.network import Network
from afnet_jax.models.starting_weights import flatten
from afnet_jax.paths import user_path
from afnet_jax.points.clouds import cloud_shapes
from afnet_jax.points.rendering import render
from afnet_jax.preprocessing.pipeline import PreprocessingConfig
from afnet_jax.scans.scan import EXPRESSIONS, LANDMARKS

PROGRAM, WEIGHTS, DESCRIPTION = "model.stablehlo", "model.safetensors", "model.json"
PLATFORMS = ("cpu", "cuda")
_SEPARATOR = "."
_USAGE = """\
import jax.export
from safetensors.numpy import load_file
program = jax.export.deserialize(bytearray(open("model.stablehlo", "rb").read()))
weights = load_file("model.safetensors")
probabilities = program.call(weights, {inputs})
"""


def export_model(run: Run, out: str | Path, *, round: int = 0, fold: int | None = None) -> Path:
    """Writes model.stablehlo, model.safetensors and model.json.

    Args:
        run: a finished run.
        out: folder to write to; made if need be.
        round: whose networks.
        fold: one network; None for the mean of the probabilities of all the round's networks.

    Returns:
        The folder.

    Raises:
        RunError: weights that are not there, or a folder that cannot be written to.
    """
    folds = run.folds(round) if fold is None else [fold]
    out = user_path(out)
    weights = jax.tree.map(np.ascontiguousarray, flatten(*run.stacked_weights(round, folds)))
    description = _description(run, weights, round, folds)  # before the program: it wants a run that is finished
    arguments = (_shapes(weights), *input_shapes(run.config, run.network, *jax.export.symbolic_shape("n")))
    exported = jax.export.export(jax.jit(probabilities(run.config)), platforms=PLATFORMS)(*arguments)
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_bytes_atomically(out / PROGRAM, bytes(exported.serialize()))
        write_bytes_atomically(out / WEIGHTS, save(weights))
        write_atomically(out / DESCRIPTION, json.dumps(description, indent=1) + "\n")
    except OSError as error:
        raise RunError(f"{out}: cannot be written to ({error.strerror}); give another --out") from error
    return out


def input_shapes(config: ConfigDict, network: Network, *scans: Any) -> list[jax.ShapeDtypeStruct]:
    """Shapes of what the program takes beside the weights: the maps of so many scans, or their clouds of points."""
    if config.dataset.input == "points":
        return list(cloud_shapes(*scans))
    return jax.tree.leaves(network.map_shapes(config.dataset.image_size, *scans))


def probabilities(config: ConfigDict):
    """(weights by name, maps or parts of clouds) -> (N, 6): the mean over folds of their softmaxes.

    The network is computed on either platform in its own form.
    """
    forms = {platform: _probabilities_on(Network(config.model, platform=platform)) for platform in PLATFORMS}

    def of_maps(weights, *maps):
        return jax.lax.platform_dependent(weights, *maps, **forms)

    def of_points(weights, *parts):
        maps = render(Clouds(*parts), config.dataset.image_size, config.model.modalities)
        return of_maps(weights, *jax.tree.leaves(maps))

    return of_points if config.dataset.input == "points" else of_maps


def _probabilities_on(network: Network):
    params, batch_stats = jax.eval_shape(network.init, jax.random.key(0))
    shapes = {"params": params, "batch_stats": batch_stats}
    paths, tree = jax.tree_util.tree_flatten_with_path(shapes)
    names = [jax.tree_util.keystr(path, simple=True, separator=_SEPARATOR) for path, _ in paths]

    def one(weights, *maps):
        parts = jax.tree_util.tree_unflatten(tree, [weights[name] for name in names])
        return network.probabilities(parts["params"], parts["batch_stats"], Maps(*maps))

    def mean(weights, *maps):
        return jnp.mean(jax.vmap(one, (0, *[None] * len(maps)))(weights, *maps), axis=0)

    return mean


def _shapes(weights: dict[str, np.ndarray]) -> dict[str, jax.ShapeDtypeStruct]:
    return {name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for name, leaf in weights.items()}


def _described_maps(run: Run, size: int) -> list[dict]:
    maps = {each.record or name: each for name, each in maps_of(run.config.model.modalities).items()}
    return [
        {"name": name, "shape": ["n", *each.shape(size)], "dtype": each.dtype, "content": each.content}
        for name, each in maps.items()
    ]


def _described_clouds() -> list[dict]:
    content = {
        "points": "mm, NaN where there is no point, in an order that tells nothing; rotation @ point + offset is "
        "canonical (mm; x right, y up, z to the camera, the origin midway between the inner corners of the eyes)",
        "colours": "RGB",
        "rotation": "of the points to the canonical frame",
        "offset": "mm",
        "landmarks": f"canonical mm, NaN where there is none: {', '.join(LANDMARKS)}",
    }
    return [
        {"name": name, "shape": ["n", *shape.shape[1:]], "dtype": str(shape.dtype), "content": content[name]}
        for name, shape in cloud_shapes(1)._asdict().items()
    ]


def _description(run: Run, weights: dict[str, np.ndarray], round_: int, folds: list[int]) -> dict:
    grid, size = PreprocessingConfig().grid, run.config.dataset.image_size
    inputs = _described_clouds() if run.config.dataset.input == "points" else _described_maps(run, size)
    return {
        "model": f"AFNet-M, variant {run.config.variant}",
        "usage": _USAGE.format(inputs=", ".join(each["name"] for each in inputs)).splitlines(),
        "inputs": inputs,
        "mm_per_pixel": grid.step * grid.size / size,
        "output": {"shape": ["n", len(EXPRESSIONS)], "dtype": "float32", "content": "probabilities"},
        "expressions": list(EXPRESSIONS),
        "weights": {name: {"shape": list(leaf.shape), "dtype": str(leaf.dtype)} for name, leaf in weights.items()},
        "weights_axis_0": "folds, whose probabilities are averaged",
        "round": round_,
        "folds": folds,
        "platforms": list(PLATFORMS),
        "accuracy": run.summary["accuracy"]["mean"],
        "config": json.loads(run.config.to_json()),
        "afnet_jax": afnet_jax.__version__,
        "jax": jax.__version__,
    }
