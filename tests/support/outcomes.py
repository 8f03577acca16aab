"""One training step of a variant, computed by this project and by the PyTorch reference, in the same words.

Both get the same synthetic weights and scans. At float64 the two must agree to rounding. At float32 they agree as well
as float32 can: a ReLU or a maximum whose arguments lie closer than rounding falls either way, in PyTorch as here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from afnet_jax.maps import Faces, Maps
from afnet_jax.models.afnet import AFNet
from afnet_jax.models.architecture import VARIANTS, Architecture
from tests.support.named_values import from_reference, scans, tensor

BATCH = 2

# Every variant, and networks in which all that the paper leaves open is chosen otherwise; depth_range_mm is compared
# by the test of the network's door.
ARCHITECTURES = {
    **VARIANTS,
    "afnet_per_block": Architecture(
        fusion_per="block",
        depth_goes_on="weighted",
        mask_attention_per="block",
        mask_hidden_width=8,
        head_widths=(16,),
    ),
    "fuse_1234_weighted": dataclasses.replace(VARIANTS["fuse_1234"], depth_goes_on="weighted", head_widths=()),
}


class Outcome(NamedTuple):
    """Logits in evaluation, loss in training, its gradients and the running statistics after it, by name (HWIO)."""

    logits: np.ndarray
    loss: float
    gradients: dict[str, np.ndarray]
    statistics: dict[str, np.ndarray]


def batch_of(size: int, dtype: str, seed: int = 0) -> Faces:
    """Scans whose masks have the given dtype."""
    texture, depth, mask1, mask2, labels = scans(size, BATCH, seed)
    return Faces(Maps(texture, depth, mask1.astype(dtype), mask2.astype(dtype)), labels)


def network(variant: str, dtype: str = "float32", platform: str = "cpu") -> tuple[nnx.GraphDef, nnx.State, nnx.State]:
    """Graph, parameters and statistics of this project's network in a platform's form, with values from names."""
    abstract = nnx.eval_shape(
        lambda: AFNet(ARCHITECTURES[variant], rngs=nnx.Rngs(0), dtype=jnp.dtype(dtype), platform=platform)
    )
    graph, params, stats = nnx.split(abstract, nnx.Param, nnx.BatchStat)

    def filled(state):
        leaves = {
            path: leaf.replace(jnp.asarray(tensor(".".join(map(str, path)), leaf.shape), dtype))
            for path, leaf in nnx.to_flat_state(state)
        }
        return nnx.from_flat_state(leaves.items())

    return graph, filled(params), filled(stats)


def loss_and_statistics(graph, params, stats, batch):
    """Cross-entropy of a batch in training, and the running statistics after it."""
    model = nnx.merge(graph, params, stats, copy=True)
    loss = optax.softmax_cross_entropy_with_integer_labels(model(batch.maps, train=True), batch.labels).mean()
    return loss, nnx.state(model, nnx.BatchStat)


@functools.lru_cache(maxsize=1)
def ours(variant: str, size: int, dtype: str, platform: str = "cpu") -> Outcome:
    """This project's outcome, operation by operation: nothing is jitted, so that variants share what is compiled."""
    with jax.enable_x64(True) if dtype == "float64" else contextlib.nullcontext():
        graph, params, stats = network(variant, dtype, platform)
        batch = batch_of(size, dtype)
        logits = nnx.merge(graph, params, stats, copy=True)(batch.maps)
        (loss, stats), gradients = jax.value_and_grad(loss_and_statistics, argnums=1, has_aux=True)(
            graph, params, stats, batch
        )
    return Outcome(np.asarray(logits), float(loss), named(gradients), named(stats))


def named(state: nnx.State) -> dict[str, np.ndarray]:
    """A state -> arrays by dotted name."""
    return {".".join(map(str, path)): np.asarray(leaf[...]) for path, leaf in nnx.to_flat_state(state)}


def reference(variant: str, dtype: str = "float32"):
    """The PyTorch reference, filled with values computed from names."""
    import torch

    from tests.support.pytorch_reference import OPEN, Reference

    name, choices = OPEN.get(variant, (variant, {}))
    model = Reference(name, **choices).to(getattr(torch, dtype))
    for name, parameter in model.state_dict().items():
        if ours_name := from_reference(name):
            shape = to_ours(parameter.numpy()).shape
            parameter.copy_(torch.from_numpy(to_pytorch(tensor(ours_name, shape)).copy()))
    return model


def pytorch(variant: str, size: int, dtype: str) -> Outcome:
    """The reference's outcome."""
    import torch

    model = reference(variant, dtype)
    *inputs, labels = map(torch.from_numpy, jax.tree.leaves(batch_of(size, dtype)))
    with torch.no_grad():
        logits = model.eval()(*inputs).numpy()
    loss = torch.nn.functional.cross_entropy(model.train()(*inputs), labels.long())
    loss.backward()
    gradients = {from_reference(n): to_ours(p.grad.numpy()) for n, p in model.named_parameters()}
    statistics = {from_reference(n): b.numpy() for n, b in model.named_buffers() if from_reference(n)}
    return Outcome(logits, loss.item(), gradients, statistics)


def to_pytorch(array: np.ndarray) -> np.ndarray:
    """HWIO -> OIHW, (inputs, outputs) -> (outputs, inputs), vectors as they are."""
    return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T


def to_ours(array: np.ndarray) -> np.ndarray:
    """OIHW -> HWIO, (outputs, inputs) -> (inputs, outputs), vectors as they are."""
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    """Norm of the difference in units of the expected norm."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def errors(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> dict[str, float]:
    """Relative difference of each array; both sides must have the same names."""
    assert found.keys() == expected.keys()
    return {name: relative(found[name], expected[name]) for name in expected}


def summary(outcome: Outcome) -> dict[str, list[float]]:
    """A few numbers that all of an outcome goes into, for the golden file.

    Of each part's gradients and of the statistics: the norm, and the sum weighted by numbers computed from names.
    """
    numbers = {"logits": outcome.logits.ravel().tolist(), "loss": [outcome.loss]}
    parts = {"statistics": outcome.statistics}
    for name, gradient in outcome.gradients.items():
        parts.setdefault(name.split(".")[0], {})[name] = gradient
    for part, arrays in sorted(parts.items()):
        norm = sum(float(np.square(array).sum()) for array in arrays.values()) ** 0.5
        weighted = sum(float((array * tensor(f"golden.{n}.bias", array.shape)).sum()) for n, array in arrays.items())
        numbers[part] = [norm, weighted]
    return numbers
