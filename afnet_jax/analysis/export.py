"""A trained network to take away: a StableHLO program (`jax.export`), its weights, and a page that explains both.

Whoever has JAX and safetensors can run it; nothing of this package is needed, see the description's "usage".
"""

from __future__ import annotations

import json
from pathlib import Path

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict
from safetensors.numpy import save_file

import afnet_jax
from afnet_jax.analysis.run import Run
from afnet_jax.atomic_files import write_atomically
from afnet_jax.errors import RunError
from afnet_jax.maps import Maps, maps_of
from afnet_jax.models.network import Network
from afnet_jax.models.starting_weights import flatten
from afnet_jax.paths import user_path
from afnet_jax.preprocessing.pipeline import PreprocessingConfig
from afnet_jax.scans.scan import EXPRESSIONS

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
    weights = jax.tree.map(np.ascontiguousarray, flatten(*run.stacked_weights(round, folds)))
    maps = run.network.map_shapes(run.config.dataset.image_size, *jax.export.symbolic_shape("n"))
    arguments = (_shapes(weights), *jax.tree.leaves(maps))
    exported = jax.export.export(jax.jit(probabilities(run.config)), platforms=PLATFORMS)(*arguments)
    out = user_path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / PROGRAM).write_bytes(exported.serialize())
        save_file(weights, out / WEIGHTS)
        write_atomically(out / DESCRIPTION, json.dumps(_description(run, weights, round, folds), indent=1) + "\n")
    except OSError as error:
        raise RunError(f"{out}: cannot be written to ({error.strerror}); give another --out") from error
    return out


def probabilities(config: ConfigDict):
    """(weights by name, maps) -> (N, 6): the mean over folds of their softmaxes, on either platform in its own form."""
    forms = {platform: _probabilities_on(Network(config.model, platform=platform)) for platform in PLATFORMS}
    return lambda *arguments: jax.lax.platform_dependent(*arguments, **forms)


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


def _description(run: Run, weights: dict[str, np.ndarray], round_: int, folds: list[int]) -> dict:
    span, size = PreprocessingConfig(), run.config.dataset.image_size
    inputs = {each.record or name: each for name, each in maps_of(run.config.model.modalities).items()}
    return {
        "model": f"AFNet-M, variant {run.config.variant}",
        "usage": _USAGE.format(inputs=", ".join(inputs)).splitlines(),
        "inputs": [
            {"name": name, "shape": ["n", *each.shape(size)], "dtype": each.dtype, "content": each.content}
            for name, each in inputs.items()
        ],
        "mm_per_pixel": span.mm_per_pixel * span.size / size,
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
