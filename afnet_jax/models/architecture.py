"""Architecture of a network: one description for AFNet-M and every variant of the paper's tables.

Plain data, no JAX: the config is built from it, and a network from the config.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping
from typing import Any, ClassVar

from afnet_jax.errors import ConfigError
from afnet_jax.scans.scan import EXPRESSIONS

MODALITIES = ("texture", "depth", "normals")  # input maps that have a trunk
STAGES = (1, 2, 3, 4)  # Layer1 to Layer4 of a ResNet18 trunk
BLOCKS = (0, 1)  # residual blocks of a stage
WIDTHS = {1: 64, 2: 128, 3: 256, 4: 512}  # channels a stage puts out
MASK_STAGES = (1, 2)  # stages whose resolution has a mask: mask-1 is a quarter of the input's edge, mask-2 an eighth


@dataclasses.dataclass(frozen=True)
class FusionNeeds:
    """Says what a fusion strategy needs of the other fields of an `Architecture`.

    Attributes:
        one_modality: it takes one modality; the others take more.
        between_stages: it fuses after `fusion_stages`, and can weigh what it fuses.
        hidden_layers: it needs hidden fully-connected layers.
    """

    one_modality: bool = False
    between_stages: bool = False
    hidden_layers: bool = False


# Where the modalities meet, by `Architecture.fusion`; models/fusion.py computes it.
FUSIONS: dict[str, FusionNeeds] = {
    "layers": FusionNeeds(between_stages=True),  # after each of fusion_stages, M = X_t + X_d (eq. 3, S4)
    "input": FusionNeeds(),  # stacked as input channels of one trunk (S1)
    "decision": FusionNeeds(),  # mean of the softmaxes of two whole networks (S2)
    "head": FusionNeeds(hidden_layers=True),  # features concatenated after the fully-connected layers (S3)
    "none": FusionNeeds(one_modality=True),  # one modality alone
}


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A network: what goes in, which stages carry mask attention, where and how the modalities meet.

    The defaults are AFNet-M. What the paper leaves open is marked "open", with this project's choice as the default.

    Raises:
        ConfigError: a field, or a combination of fields, that is no network.
    """

    num_classes: ClassVar[int] = len(EXPRESSIONS)  # of the paper, its data sets and its metrics; no choice

    modalities: tuple[str, ...] = ("texture", "depth")  # inputs that are used, in the order of MODALITIES

    fusion: str = "layers"  # where the modalities meet, a name of FUSIONS
    fusion_stages: tuple[int, ...] = (3, 4)  # stages that fuse where fusion is "layers"; the last one must be 4
    fusion_per: str = "stage"  # open: fuse after a "stage", or after each "block" of it
    importance_weights: bool = True  # weigh the summands of M channel by channel (IWC, eq. 2 and 3)
    depth_goes_on: str = "plain"  # open: the depth trunk goes on with its own ("plain") or with the "weighted" X_d

    mask_attention_stages: tuple[int, ...] = (1, 2)  # stages with mask attention (MA, eq. 1); () for none
    mask_attention_per: str = "stage"  # open: MA after a "stage", or after each "block" of it
    mask_hidden_width: int | None = None  # open: channels between MA's two convolutions; None for as many as X has

    head_widths: tuple[int, ...] = (96, 96)  # open: hidden fully-connected layers, ReLU after each
    depth_range_mm: tuple[float, float] = (-70.0, 50.0)  # open: canonical depth that becomes 0 and 1; clipped beyond

    def __post_init__(self):
        for field in dataclasses.fields(self):
            if isinstance(getattr(self, field.name), list):  # as JSON gives them
                object.__setattr__(self, field.name, tuple(getattr(self, field.name)))
        self._check_fields()
        self._check_combination()

    def has_mask_attention(self, stage: int, block: int) -> bool:
        """Whether MA follows this residual block."""
        return stage in self.mask_attention_stages and _after(self.mask_attention_per, block)

    def fuses_after(self, stage: int, block: int) -> bool:
        """Whether a fusion between stages follows this residual block."""
        return stage in self.fusion_stages and _after(self.fusion_per, block)

    def _check_fields(self):
        _check_choice("fusion", self.fusion, tuple(FUSIONS))
        _check_choice("fusion_per", self.fusion_per, ("stage", "block"))
        _check_choice("mask_attention_per", self.mask_attention_per, ("stage", "block"))
        _check_choice("depth_goes_on", self.depth_goes_on, ("plain", "weighted"))
        _check_choice("modalities", self.modalities, _subsets(MODALITIES))
        _check_stages("fusion_stages", self.fusion_stages, STAGES)
        _check_stages("mask_attention_stages", self.mask_attention_stages, MASK_STAGES)
        _check_positive("head_widths", *self.head_widths)
        _check_positive("mask_hidden_width", 1 if self.mask_hidden_width is None else self.mask_hidden_width)
        if not _is_finite_range(self.depth_range_mm):
            expected = "(low, high) with low < high, both finite"
            raise ConfigError(f"model.depth_range_mm: expected {expected}, found {self.depth_range_mm}")

    def _check_combination(self):
        needs = FUSIONS[self.fusion]
        if needs.one_modality != (len(self.modalities) == 1):
            raise ConfigError(
                f"model.fusion={self.fusion!r} does not go with modalities {self.modalities}: "
                f"one modality takes 'none', more take another"
            )
        if self.importance_weights and not needs.between_stages:
            between = " or ".join(repr(name) for name in FUSIONS if FUSIONS[name].between_stages)
            raise ConfigError(
                f"model.importance_weights needs fusion {between}, found {self.fusion!r}: set it to False or fuse there"
            )
        if self.depth_goes_on == "weighted" and not self.importance_weights:
            raise ConfigError(
                "model.depth_goes_on='weighted' needs importance_weights=True: without them nothing weighs"
            )
        if needs.between_stages and STAGES[-1] not in self.fusion_stages:
            raise ConfigError(
                f"model.fusion_stages={self.fusion_stages} must hold 4: the head reads only what is fused there"
            )
        if needs.hidden_layers and not self.head_widths:
            raise ConfigError(
                f"model.fusion={self.fusion!r} fuses after fully-connected layers: head_widths must not be empty"
            )


def architecture_of(settings: Mapping[str, Any]) -> Architecture:
    """Returns the network that a config's section `model` describes.

    Raises:
        ConfigError: fields that are no network together.
    """
    return Architecture(**{field.name: settings[field.name] for field in dataclasses.fields(Architecture)})


def _after(per: str, block: int) -> bool:
    return per == "block" or block == BLOCKS[-1]


def _is_finite_range(values: tuple) -> bool:
    numbers = len(values) == 2 and all(isinstance(value, int | float) for value in values)
    return numbers and -math.inf < values[0] < values[1] < math.inf


def _check_choice(name: str, value, choices: tuple):
    if value not in choices:
        raise ConfigError(f"model.{name}: expected one of {', '.join(map(repr, choices))}, found {value!r}")


def _subsets(names: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """All but the empty one, each in the order of `names`, the largest first."""
    return tuple(s for count in range(len(names), 0, -1) for s in itertools.combinations(names, count))


def _check_stages(name: str, value: tuple[int, ...], stages: tuple[int, ...]):
    if not set(value) <= set(stages) or list(value) != sorted(set(value)):
        raise ConfigError(f"model.{name}: expected ascending stages out of {stages}, found {value}")


def _check_positive(name: str, *values: int):
    if not all(isinstance(value, int) and not isinstance(value, bool) and value > 0 for value in values):
        raise ConfigError(f"model.{name}: expected positive whole numbers, found {values}")


def _alone(modality: str, mask_attention_stages: tuple[int, ...]) -> Architecture:
    return Architecture(
        modalities=(modality,),
        fusion="none",
        fusion_stages=(),
        importance_weights=False,
        mask_attention_stages=mask_attention_stages,
    )


def _unmasked(fusion: str, fusion_stages: tuple[int, ...] = (), importance_weights: bool = False) -> Architecture:
    return Architecture(
        fusion=fusion,
        fusion_stages=fusion_stages,
        importance_weights=importance_weights,
        mask_attention_stages=(),
    )


VARIANTS: dict[str, Architecture] = {
    "afnet": Architecture(),
    # Tables III and IV: without MA, without IWC.
    "no_ma": Architecture(mask_attention_stages=()),
    "no_iwc": Architecture(importance_weights=False),
    # Table II, fusion strategies, all without MA.
    "s1": _unmasked("input"),
    "s2": _unmasked("decision"),
    "s3": _unmasked("head"),
    "s4": _unmasked("layers", (3, 4)),
    # Tables I and III, one modality: 2D and 3D, with and without MA.
    "texture": _alone("texture", (1, 2)),
    "depth": _alone("depth", (1, 2)),
    "texture_no_ma": _alone("texture", ()),
    "depth_no_ma": _alone("depth", ()),
    # Fig. 5, fusion positions, with IWC. The paper shows them under its comparison "without the MA module", and the
    # bars of Layer34 stand at the values of `no_ma`, so these go without MA too.
    "fuse_1234": _unmasked("layers", (1, 2, 3, 4), importance_weights=True),
    "fuse_234": _unmasked("layers", (2, 3, 4), importance_weights=True),
    "fuse_34": _unmasked("layers", (3, 4), importance_weights=True),
    "fuse_4": _unmasked("layers", (4,), importance_weights=True),
}
