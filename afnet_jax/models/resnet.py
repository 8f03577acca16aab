"""ResNet18 trunk (He et al. 2016), layer by layer that of torchvision, in NHWC.

Shapes: N scans, H and W divisible by 32, C channels.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
from flax import nnx

from afnet_jax.models.architecture import BLOCKS, STAGES, WIDTHS
from afnet_jax.models.normalised_pooling import normalise_and_pool
from afnet_jax.models.pooling import max_pool


class BasicBlock(nnx.Module):
    """Two 3×3 convolutions around a shortcut: (N, h, w, C_in) -> (N, h/stride, w/stride, C_out)."""

    def __init__(self, in_channels: int, channels: int, stride: int, *, conv: Callable, norm: Callable):
        # Padding is 1 on both sides also at stride 2, where "SAME" would pad on one side only.
        conv3 = functools.partial(conv, kernel_size=(3, 3), padding=((1, 1), (1, 1)))
        self.conv1 = conv3(in_channels, channels, strides=(stride, stride))
        self.bn1 = norm(channels)
        self.conv2 = conv3(channels, channels)
        self.bn2 = norm(channels)
        self.projects = stride != 1 or in_channels != channels
        if self.projects:
            self.downsample_conv = conv(
                in_channels, channels, (1, 1), strides=(stride, stride), padding=((0, 0), (0, 0))
            )
            self.downsample_bn = norm(channels)

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        y = self.bn1(self.conv1(x), train=train, relu=True)
        shortcut = self.downsample_bn(self.downsample_conv(x), train=train) if self.projects else x
        return self.bn2(self.conv2(y), train=train, shortcut=shortcut)


class ResNet18(nnx.Module):
    """Stem and four stages of two blocks; the caller walks through them, for mask attention and fusion lie between.

    `stem` takes (N, H, W, in_channels) to (N, H/4, W/4, 64); `block(x, stage, block)` runs one residual block;
    stage 1 to 4 puts out (N, H/4, W/4, 64), (N, H/8, W/8, 128), (N, H/16, W/16, 256), (N, H/32, W/32, 512).

    Args:
        in_channels: of the images.
        conv: makes a convolution, as `nnx.Conv` is called; a trunk's have no biases, for normalisation follows.
        norm: makes a normalisation of so many channels.
    """

    def __init__(self, in_channels: int = 3, *, conv: Callable, norm: Callable):
        conv = functools.partial(conv, use_bias=False)
        self.conv1 = conv(in_channels, 64, (7, 7), strides=(2, 2), padding=((3, 3), (3, 3)))
        self.bn1 = norm(64)
        in_channels = 64
        for stage in STAGES:
            blocks = []
            for block in BLOCKS:
                stride = 2 if stage > 1 and block == 0 else 1
                blocks.append(BasicBlock(in_channels, WIDTHS[stage], stride, conv=conv, norm=norm))
                in_channels = WIDTHS[stage]
            setattr(self, f"layer{stage}", nnx.List(blocks))

    def stem(self, images: jax.Array, *, train: bool) -> jax.Array:
        """7×7/2 convolution, normalisation, ReLU, 3×3/2 max-pool: (N, H, W, C_in) -> (N, H/4, W/4, 64)."""
        features = self.conv1(images)
        if self.bn1.platform == "cpu":
            return max_pool(self.bn1(features, train=train, relu=True))
        return normalise_and_pool(self.bn1, features, train=train)

    def block(self, x: jax.Array, stage: int, block: int, *, train: bool) -> jax.Array:
        """Residual block `block` (0, 1) of `stage` (1 to 4)."""
        return getattr(self, f"layer{stage}")[block](x, train=train)
