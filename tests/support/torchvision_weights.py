"""Weights in torchvision's layout, drawn at random."""

import numpy as np


def torchvision_tensors() -> dict[str, np.ndarray]:
    """Random ResNet18 weights under the names and shapes of torchvision's resnet18-f37072fd.pth, written out anew."""
    draw = np.random.RandomState(0)
    pool = draw.randn(4099).astype(np.float32)
    shapes = {"conv1.weight": (64, 3, 7, 7), **_norm("bn1", 64)}
    before = 64
    for layer, after in enumerate((64, 128, 256, 512), start=1):
        for block in range(2):
            name = f"layer{layer}.{block}"
            shapes[f"{name}.conv1.weight"] = (after, before, 3, 3)
            shapes[f"{name}.conv2.weight"] = (after, after, 3, 3)
            shapes |= _norm(f"{name}.bn1", after) | _norm(f"{name}.bn2", after)
            if before != after:
                shapes[f"{name}.downsample.0.weight"] = (after, before, 1, 1)
                shapes |= _norm(f"{name}.downsample.1", after)
            before = after
    shapes |= {"fc.weight": (1000, 512), "fc.bias": (1000,)}
    tensors = {name: np.resize(np.roll(pool, index), shape) for index, (name, shape) in enumerate(shapes.items())}
    return {name: np.abs(tensor) if name.endswith("running_var") else tensor for name, tensor in tensors.items()}


def _norm(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.{last}": (channels,) for last in ("weight", "bias", "running_mean", "running_var")}
