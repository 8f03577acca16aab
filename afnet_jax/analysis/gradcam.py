"""Heat maps of a network by Grad-CAM (Selvaraju et al. 2017; Fig. 6), and its importance weights (eq. 2).

Shapes: F folds side by side, N scans of each, (h, w) the convolutional features that are looked at.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from afnet_jax.analysis.run import Run
from afnet_jax.errors import RunError
from afnet_jax.maps import Maps
from afnet_jax.models.architecture import STAGES
from afnet_jax.models.network import Network

_FEWEST = 7  # pixels along an edge of the features that are looked at
BATCH = 6  # scans of one call, one for each expression; one program serves any number of them


class Explanation(NamedTuple):
    """Outputs of F networks for N scans each, with heat maps and importance weights.

    Attributes:
        logits: (F, N, 6).
        heat: trunk -> (F, N, h, w) Grad-CAM, 0 and above; large where the features speak for the class.
        importance: "<trunk>/layer<s>_<b>" -> (F, N, C) weights t_iw and d_iw in (0, 1); empty without IWC.
    """

    logits: np.ndarray
    heat: dict[str, np.ndarray]
    importance: dict[str, np.ndarray]


def explain(
    run: Run,
    maps: Maps,
    *,
    round: int = 0,
    folds: Sequence[int] | None = None,
    classes: np.ndarray | None = None,
    stage: int | None = None,
) -> Explanation:
    """Logits, heat maps and importance weights of several folds' networks in one call.

    Args:
        run: a finished run.
        maps: scans as in `Maps`, with one axis more in front: (F, N, S, S, 3) and so on.
        round: the networks' round.
        folds: the networks; all of the round by default.
        classes: (F, N) int, the class whose heat is wanted; the predicted one by default.
        stage: after which the features are looked at; `stage_of` the images' size by default.

    Raises:
        RunError: weights that are not there, or maps of another size or number.
    """
    folds = run.folds(round) if folds is None else list(folds)
    size = run.config.dataset.image_size
    if maps.texture.shape[0] != len(folds) or maps.texture.shape[2:] != (size, size, 3):
        raise RunError(
            f"{run.path}: expected maps of {len(folds)} fold(s), {size} x {size} pixels, found texture of shape "
            f"{maps.texture.shape}; load the data set with the run's own config.dataset"
        )
    if classes is None:
        classes = np.full(maps.texture.shape[:2], -1)
    classes = classes.astype(np.int32)
    weights, count = run.stacked_weights(round, folds), maps.texture.shape[1]
    program = explainer(run.network, stage_of(size) if stage is None else stage)
    parts = []
    for start in range(0, count, BATCH):
        batch = jax.tree.map(lambda a, start=start: _filled(a[:, start : start + BATCH]), (maps, classes))
        parts.append(jax.tree.map(np.asarray, program(*weights, *batch)))
    return Explanation(*jax.tree.map(lambda *leaves: np.concatenate(leaves, axis=1)[:, :count], *parts))


def _filled(array: np.ndarray) -> np.ndarray:
    """(F, n, …) -> (F, BATCH, …), the last scan repeated."""
    return np.concatenate([array, np.repeat(array[:, -1:], BATCH - array.shape[1], axis=1)], axis=1)


def stage_of(size: int) -> int:
    """Returns the last stage whose features have at least as many pixels as the paper's in Fig. 6, 7 along an edge.

    Args:
        size: edge of the images, pixels. After the last stage images of 64 would have 2 × 2 pixels, which show nothing.
    """
    return max((stage for stage in STAGES if size >> (stage + 1) >= _FEWEST), default=STAGES[0])


@functools.lru_cache(maxsize=4)
def explainer(network: Network, stage: int = STAGES[-1]):
    """The compiled-once program that explains F networks at once by the features after a stage."""
    return jax.jit(jax.vmap(functools.partial(_explain_one, network, stage)))


def _explain_one(network: Network, stage: int, params, batch_stats, maps, classes) -> tuple[jax.Array, dict, dict]:
    """Explains one network; fields as in `Explanation`.

    Heat = ReLU(Σ_k α_k A_k), α_k the mean over the image of the class logit's gradient by A_k.
    """
    model = network.model(params, batch_stats)
    seen: dict = {}
    features = model.encode(maps, intermediates=seen, stage=stage)

    def classify(features: dict[str, jax.Array]):
        last: dict = {}
        return model.classify(features, maps=maps, intermediates=last, stage=stage), last

    logits, pull_back, last = jax.vjp(classify, features, has_aux=True)
    chosen = jnp.where(classes < 0, logits.argmax(-1), classes)
    (gradients,) = pull_back(jax.nn.one_hot(chosen, logits.shape[-1], dtype=logits.dtype))
    heat = {name: _heat(features[name], gradients[name]) for name in features}
    weights = {key: value for key, value in {**seen, **last}.items() if key.startswith("importance/")}
    importance = {key.removeprefix("importance/"): value[:, 0, 0] for key, value in weights.items()}
    return logits, heat, importance


def _heat(features: jax.Array, gradients: jax.Array) -> jax.Array:
    features, gradients = features.astype(jnp.float32), gradients.astype(jnp.float32)
    return jax.nn.relu((gradients.mean((1, 2), keepdims=True) * features).sum(-1))


def enlarge(heat: np.ndarray, size: int) -> np.ndarray:
    """(h, w) heat -> (size, size) float32 in [0, 1]: smoothly enlarged, then scaled so that its peak is 1."""
    whole = Image.fromarray(np.asarray(heat, np.float32)).resize((size, size), Image.Resampling.BICUBIC)
    heat = np.clip(np.asarray(whole), 0, None)
    return heat / heat.max() if heat.max() > 0 else heat
