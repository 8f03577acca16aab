"""AFNet-M and its variants: ResNet18 trunks, mask attention, adaptive fusion, fully-connected head.

Shapes: N scans; H and W divisible by 32 (224 in the paper); stage s puts out (N, H / 2^(s+1), W / 2^(s+1), 32 * 2^s).
"""

from __future__ import annotations

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from afnet_jax.maps import Maps
from afnet_jax.models.architecture import BLOCKS, STAGES, WIDTHS, Architecture
from afnet_jax.models.batch_norm import BatchNorm
from afnet_jax.models.convolution import Conv
from afnet_jax.models.fusion import concatenate, fusion_of
from afnet_jax.models.head import Head
from afnet_jax.models.initialisation import initialise, zeros
from afnet_jax.models.inputs import to_images
from afnet_jax.models.mask_attention import MaskAttention
from afnet_jax.models.resnet import ResNet18

_PLACES = tuple(itertools.product(STAGES, BLOCKS))


def _place(stage: int, block: int) -> str:
    """Name of what follows a residual block."""
    return f"layer{stage}_{block}"


class AFNet(nnx.Module):
    """The network that an `Architecture` describes.

    Args:
        architecture: what it is made of.
        rngs: source of the starting weights.
        dtype: of the computation; parameters, statistics and logits are float32.
        platform: where it will be computed, "cpu" or "cuda": each has forms of its own for the same numbers.
        precision: of products of float32 numbers, as `lax.conv_general_dilated` takes it; None for JAX's default.
    """

    def __init__(
        self, architecture: Architecture, *, rngs: nnx.Rngs, dtype=jnp.float32, platform="cpu", precision=None
    ):
        self.architecture = architecture
        self.fusion = fusion_of(architecture)
        self.dtype = dtype
        layer = {"kernel_init": zeros, "rngs": rngs, "precision": precision}
        conv = functools.partial(Conv, dtype=dtype, platform=platform, **layer)
        linear = functools.partial(nnx.Linear, **layer)
        norm = functools.partial(BatchNorm, platform=platform)
        trunks = self.fusion.trunks
        self.trunks = nnx.Dict({name: ResNet18(3 * len(trunks[name]), conv=conv, norm=norm) for name in trunks})
        self.mask_attention: nnx.Dict[nnx.Dict[MaskAttention]] = nnx.Dict({name: nnx.Dict() for name in trunks})
        self.importance_weights: nnx.Dict[nnx.Dict[nnx.Module]] = nnx.Dict({name: nnx.Dict() for name in trunks})
        for stage, block in _PLACES:
            place, channels = _place(stage, block), WIDTHS[stage]
            if architecture.has_mask_attention(stage, block):
                for name in trunks:
                    attention = MaskAttention(channels, architecture.mask_hidden_width, conv=conv)
                    self.mask_attention[name][place] = attention
            if self.fusion.acts_after(stage, block):
                for name, weights in self.fusion.weights(channels, conv=conv).items():
                    self.importance_weights[name][place] = weights
        self.head = Head(architecture, self.fusion, linear=linear)
        initialise(self, rngs)

    def __call__(
        self,
        maps: Maps,
        *,
        train: bool = False,
        return_intermediates: bool = False,
    ):
        """Returns the expression logits of N scans; a variant ignores the maps that it does not use.

        Args:
            maps: of the N scans.
            train: normalise by the batch's statistics and update the running ones.
            return_intermediates: return (logits, intermediates) as well, see `encode` and `classify`.

        Returns:
            (N, num_classes) float32 logits.
        """
        intermediates: dict[str, Any] = {}
        features = self.encode(maps, train=train, intermediates=intermediates)
        logits = self.classify(features, intermediates=intermediates)
        return (logits, intermediates) if return_intermediates else logits

    def encode(self, maps: Maps, *, train=False, intermediates=None, stage: int = STAGES[-1]) -> dict[str, jax.Array]:
        """The maps -> the features of each trunk after a stage, before what the fusion makes of them there.

        `classify(encode(…))` is the whole network, so Grad-CAM is the gradient of `classify` at these features.

        Args:
            intermediates: a dict that takes up what is met on the way: `gamma/<trunk>/layer<s>_<b>` and `beta/…`
                (N, h, w, C) of mask attention and `importance/<trunk>/layer<s>_<b>` (N, 1, 1, C) of IWC, each after
                block b of stage s, and `features/<trunk>`.
            stage: the last by default, whose features are (N, H/32, W/32, 512).
        """
        seen = {} if intermediates is None else intermediates
        images = concatenate(self.fusion.trunks, to_images(self.architecture, maps, self.dtype))
        x = {name: trunk.stem(images[name], train=train) for name, trunk in self.trunks.items()}
        for place in _PLACES:
            x = self._block(x, *place, maps, train, seen)
            if place == (stage, BLOCKS[-1]):
                break
            x = self._fuse(x, *place, seen)
        seen.update({f"features/{name}": x[name] for name in x})
        return x

    def classify(
        self, features: dict[str, jax.Array], *, maps: Maps | None = None, intermediates=None, stage: int = STAGES[-1]
    ) -> jax.Array:
        """The features of each trunk after a stage -> their fusion, all further stages -> (N, num_classes) logits.

        Args:
            features: of `encode` with the same stage.
            maps: that they come from, whose masks further stages may attend to; of no use after the last stage.
            intermediates: as in `encode`.
        """
        seen = {} if intermediates is None else intermediates
        x = self._fuse(features, stage, BLOCKS[-1], seen)
        for place in _PLACES[_PLACES.index((stage, BLOCKS[-1])) + 1 :]:
            x = self._fuse(self._block(x, *place, maps, False, seen), *place, seen)
        return self.head(x)

    def _block(self, x, stage, block, maps, train, seen):
        """A residual block of every trunk, and mask attention after it where the architecture has it."""
        x = {name: trunk.block(x[name], stage, block, train=train) for name, trunk in self.trunks.items()}
        masks = {1: maps.mask1, 2: maps.mask2} if maps is not None else {}
        return self._attend(x, stage, block, masks.get(stage), seen)

    def _attend(self, x, stage, block, mask, seen):
        """Eq. 1 on every trunk, where the architecture has it."""
        if not self.architecture.has_mask_attention(stage, block):
            return x
        place, attended = _place(stage, block), {}
        for name in x:
            gamma, beta = self.mask_attention[name][place](mask)
            seen[f"gamma/{name}/{place}"], seen[f"beta/{name}/{place}"] = gamma, beta
            attended[name] = gamma * x[name] + beta
        return attended

    def _fuse(self, x, stage, block, seen):
        """Returns the features of all trunks, fused where the strategy acts after this residual block."""
        if not self.fusion.acts_after(stage, block):
            return x
        place = _place(stage, block)
        weights = {name: of_trunk[place] for name, of_trunk in self.importance_weights.items() if place in of_trunk}
        x, intermediates = self.fusion.exchange(x, weights)
        seen.update({f"{name}/{place}": value for name, value in intermediates.items()})
        return x
