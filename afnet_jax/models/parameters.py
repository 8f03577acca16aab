"""How large a network is, as one counts it and as Table IV of the paper does.

The paper's figures are those of a counter that hooks calls: the IWC convolution serves both pools (eq. 2), is called
twice and counted twice. So both counts are given, each in MiB of float32.
"""

from __future__ import annotations

import dataclasses
import functools

from flax import nnx

from afnet_jax.models.afnet import AFNet
from afnet_jax.models.architecture import Architecture

_BYTES_PER_MIB = 2**20


@dataclasses.dataclass(frozen=True)
class Size:
    """Parameters of a network or a part of it: counted once, and once per call of the layer that holds them."""

    count: int = 0
    count_per_call: int = 0

    @property
    def mib(self) -> float:
        """MiB of float32, each parameter once."""
        return 4 * self.count / _BYTES_PER_MIB

    @property
    def mib_per_call(self) -> float:
        """MiB of float32, each parameter once per call of its layer."""
        return 4 * self.count_per_call / _BYTES_PER_MIB

    def __add__(self, other: Size) -> Size:
        return Size(self.count + other.count, self.count_per_call + other.count_per_call)


@functools.cache
def sizes(architecture: Architecture) -> dict[str, Size]:
    """Size of each part: `trunks`, `mask_attention`, `importance_weights`, `head`. Taken from shapes alone."""
    model = nnx.eval_shape(lambda: AFNet(architecture, rngs=nnx.Rngs(0)))
    parts = dict.fromkeys(("trunks", "mask_attention", "importance_weights", "head"), Size())
    for (part, *_), param in nnx.to_flat_state(nnx.state(model, nnx.Param)):
        calls = 2 if part == "importance_weights" else 1
        parts[str(part)] += Size(param.size, calls * param.size)
    return parts


def size(architecture: Architecture) -> Size:
    """Returns the size of a whole network."""
    return sum(sizes(architecture).values(), Size())


def audit(architecture: Architecture) -> dict[str, int | float]:
    """`count` of parameters, `mib` of float32 they take, and `mib_per_call` as the paper counts."""
    whole = size(architecture)
    return {"count": whole.count, "mib": whole.mib, "mib_per_call": whole.mib_per_call}
