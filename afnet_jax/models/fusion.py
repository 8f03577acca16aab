"""How the modalities meet: eq. 3 of the paper, and the strategies S1 to S4 of its Table II.

`fusion_of` chooses the strategy of an architecture once. The network is built and run by its answers: which modalities
each trunk takes, what happens between residual blocks, which trunks the layers of logits read, and how their logits
become one decision. Each strategy overrides the answers where it fuses; its name and what it needs of the other fields
stand in `architecture.FUSIONS`.

Shapes: N scans, features (N, h, w, C).
"""

from __future__ import annotations

import dataclasses
import functools
import math
import operator
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from flax import nnx

from afnet_jax.models.architecture import Architecture
from afnet_jax.models.importance_weights import ImportanceWeights

Groups = dict[str, tuple[str, ...]]
Features = dict[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class Fusion:
    """No fusion: one modality, its trunk and its logits. The strategies are made from this one."""

    architecture: Architecture

    @property
    def trunks(self) -> Groups:
        """Trunk -> the modalities whose images are stacked as its input channels."""
        return {name: (name,) for name in self.architecture.modalities}

    @property
    def logits(self) -> Groups:
        """Layer of logits -> the trunks whose hidden features, each from a stack of its own, it takes concatenated."""
        return {name: (name,) for name in self.trunks}

    def acts_after(self, stage: int, block: int) -> bool:
        """Tells whether the trunks exchange features after this residual block."""
        return False

    def weights(self, channels: int, *, conv: Callable) -> dict[str, nnx.Module]:
        """Returns, by trunk, the modules that one exchange of C channels learns, kept as importance weights."""
        return {}

    def exchange(self, x: Features, weights: Mapping[str, nnx.Module]) -> tuple[Features, Features]:
        """Features of each trunk after a block -> those it goes on with, and intermediates by name."""
        return x, {}

    def decide(self, logits: list[jax.Array]) -> jax.Array:
        """(N, num_classes) of each layer of logits -> (N, num_classes) of the network."""
        (only,) = logits
        return only


class FusionAtInput(Fusion):
    """S1: the images are stacked as input channels of one trunk."""

    @property
    def trunks(self) -> Groups:
        return {"stacked": self.architecture.modalities}


class FusionBetweenStages(Fusion):
    """Eq. 3: M is the sum of the trunks' features, weighed by IWC (eq. 2) or, in S4, not.

    The first trunk goes on with M, and its features alone reach the logits; the others go on with their own.
    """

    @property
    def logits(self) -> Groups:
        first = next(iter(self.trunks))
        return {first: (first,)}

    def acts_after(self, stage: int, block: int) -> bool:
        return self.architecture.fuses_after(stage, block)

    def weights(self, channels: int, *, conv: Callable) -> dict[str, nnx.Module]:
        if not self.architecture.importance_weights:
            return {}
        return {name: ImportanceWeights(channels, conv=conv) for name in self.trunks}

    def exchange(self, x: Features, weights: Mapping[str, nnx.Module]) -> tuple[Features, Features]:
        first, *others = self.trunks
        importance = {name: weigh(x[name]) for name, weigh in weights.items()}
        weighted = {name: importance[name] * x[name] for name in importance} or x
        goes_on = weighted if self.architecture.depth_goes_on == "weighted" else x
        fused = functools.reduce(operator.add, (weighted[name] for name in self.trunks))
        seen = {f"importance/{name}": weight for name, weight in importance.items()}
        return {first: fused} | {name: goes_on[name] for name in others}, seen


class FusionAtHead(Fusion):
    """S3: the hidden features of whole networks are concatenated before the layer of logits."""

    @property
    def logits(self) -> Groups:
        return {"joint": tuple(self.trunks)}


class FusionOfDecisions(Fusion):
    """S2: the softmaxes of whole networks are averaged."""

    def decide(self, logits: list[jax.Array]) -> jax.Array:
        """Logits whose softmax is the mean of the given logits' softmaxes."""
        softmaxes = jnp.stack([jax.nn.log_softmax(each) for each in logits])
        return jax.nn.logsumexp(softmaxes, axis=0) - math.log(len(logits))


STRATEGIES: dict[str, type[Fusion]] = {
    "layers": FusionBetweenStages,
    "input": FusionAtInput,
    "decision": FusionOfDecisions,
    "head": FusionAtHead,
    "none": Fusion,
}


def fusion_of(architecture: Architecture) -> Fusion:
    """Returns the strategy that `architecture.fusion` names."""
    return STRATEGIES[architecture.fusion](architecture)


def concatenate(groups: Groups, parts: Features) -> Features:
    """Concatenates the arrays of each group along their last axis."""
    return {name: jnp.concatenate([parts[part] for part in members], axis=-1) for name, members in groups.items()}
