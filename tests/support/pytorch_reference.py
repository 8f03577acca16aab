"""AFNet-M and its variants in plain PyTorch, written from the paper alone: the second opinion on every number.

Nothing of `afnet_jax` is imported here. Tensors are NCHW inside.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

CHANNELS = [64, 128, 256, 512]

# variant -> inputs, how they meet, at which layers, with importance weights?, with mask attention?
VARIANTS = {
    "afnet": ("td", "sum", (3, 4), True, True),
    "no_ma": ("td", "sum", (3, 4), True, False),
    "no_iwc": ("td", "sum", (3, 4), False, True),
    "s1": ("td", "data", (), False, False),
    "s2": ("td", "decision", (), False, False),
    "s3": ("td", "fc", (), False, False),
    "s4": ("td", "sum", (3, 4), False, False),
    "texture": ("t", "", (), False, True),
    "depth": ("d", "", (), False, True),
    "texture_no_ma": ("t", "", (), False, False),
    "depth_no_ma": ("d", "", (), False, False),
    "fuse_1234": ("td", "sum", (1, 2, 3, 4), True, False),
    "fuse_234": ("td", "sum", (2, 3, 4), True, False),
    "fuse_34": ("td", "sum", (3, 4), True, False),
    "fuse_4": ("td", "sum", (4,), True, False),
}


# What the paper leaves open, chosen otherwise: name -> the variant it starts from, and `Reference`'s choices.
OPEN = {
    "afnet_per_block": (
        "afnet",
        {
            "fuse_each_block": True,
            "attend_each_block": True,
            "depth_weighted": True,
            "ma_width": 8,
            "head_widths": (16,),
        },
    ),
    "fuse_1234_weighted": ("fuse_1234", {"depth_weighted": True, "head_widths": ()}),
}


class Residual(nn.Module):
    """torchvision's BasicBlock, attribute by attribute, so that its state_dict has the published names."""

    def __init__(self, before, after, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.downsample = None
        if stride != 1 or before != after:
            self.downsample = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x):
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += identity
        return self.relu(out)


class Trunk(nn.Module):
    """torchvision's ResNet18 up to and without its average pool."""

    def __init__(self, channels=3):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        before = 64
        for index, after in enumerate(CHANNELS):
            first = Residual(before, after, 1 if index == 0 else 2)
            setattr(self, f"layer{index + 1}", nn.Sequential(first, Residual(after, after, 1)))
            before = after

    def start(self, x):
        return F.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 3, 2, 1)


class MA(nn.Module):
    """Equation 1, with the mask reshaped to as many channels as the features have."""

    def __init__(self, channels, width):
        super().__init__()
        self.to_gamma = nn.Sequential(nn.Conv2d(channels, width, 1), nn.ReLU(), nn.Conv2d(width, channels, 1))
        self.to_beta = nn.Sequential(nn.Conv2d(channels, width, 1), nn.ReLU(), nn.Conv2d(width, channels, 1))

    def forward(self, x, mask):
        mask = mask.repeat(1, x.shape[1], 1, 1)
        return torch.mul(self.to_gamma(mask), x) + self.to_beta(mask)


class IWC(nn.Module):
    """Equation 2."""

    def __init__(self, channels):
        super().__init__()
        self.shared = nn.Conv2d(channels, channels, 1)

    def forward(self, x):
        return torch.sigmoid(self.shared(F.adaptive_avg_pool2d(x, 1)) + self.shared(F.adaptive_max_pool2d(x, 1)))


class Reference(nn.Module):
    """The network of a variant; `forward` takes the arrays that the project's network takes, as tensors.

    MA and fusion act after whole layers, or after each residual block of them; `_0` marks what follows a first block.
    The depth trunk goes on with its own features, or with its weighted ones.
    """

    def __init__(
        self,
        variant,
        *,
        fuse_each_block=False,
        attend_each_block=False,
        depth_weighted=False,
        ma_width=None,
        head_widths=(96, 96),
        depth_range=(-70.0, 50.0),
    ):
        super().__init__()
        self.by_block, self.depth_weighted = fuse_each_block or attend_each_block, depth_weighted
        self.fused_after = ("_0", "") if fuse_each_block else ("",)
        self.inputs, self.meeting, self.fused_layers, with_iwc, with_ma = VARIANTS[variant]
        self.depth_range = depth_range
        names = ["both"] if self.meeting == "data" else list(self.inputs)
        self.trunk = nn.ModuleDict({name: Trunk(6 if name == "both" else 3) for name in names})
        self.ma, self.iwc = nn.ModuleDict(), nn.ModuleDict()
        for name in names:
            for layer in (1, 2) if with_ma else ():
                for after in ("_0", "") if attend_each_block else ("",):
                    channels = CHANNELS[layer - 1]
                    self.ma[f"{name}{layer}{after}"] = MA(channels, ma_width or channels)
            for layer in self.fused_layers if with_iwc else ():
                for after in self.fused_after:
                    self.iwc[f"{name}{layer}{after}"] = IWC(CHANNELS[layer - 1])
        widths = [512, *head_widths]
        heads = ["t"] if self.meeting == "sum" else names
        self.fc = nn.ModuleDict()
        for name in heads:
            self.fc[name] = nn.ModuleList(nn.Linear(widths[i], widths[i + 1]) for i in range(len(head_widths)))
        if self.meeting == "fc":
            self.last = nn.ModuleDict({"td": nn.Linear(2 * widths[-1], 6)})
        else:
            self.last = nn.ModuleDict({name: nn.Linear(widths[-1], 6) for name in heads})
        for name, values in (("mean", [0.485, 0.456, 0.406]), ("deviation", [0.229, 0.224, 0.225])):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float64).view(1, 3, 1, 1), persistent=False)

    def images(self, texture, depth):
        low, high = self.depth_range
        real = next(iter(self.last.values())).weight.dtype
        grey = ((depth.to(real) - low) / (high - low)).clamp(0, 1).nan_to_num(0.0)
        maps = {"t": texture.permute(0, 3, 1, 2).to(real) / 255, "d": grey.permute(0, 3, 1, 2).repeat(1, 3, 1, 1)}
        mean, deviation = self.mean.to(real), self.deviation.to(real)
        maps = {name: (maps[name] - mean) / deviation for name in self.inputs}
        return {"both": torch.cat([maps["t"], maps["d"]], 1)} if self.meeting == "data" else maps

    def forward(self, texture, depth, mask56, mask28):
        x = {name: self.trunk[name].start(image) for name, image in self.images(texture, depth).items()}
        masks = {1: mask56.permute(0, 3, 1, 2), 2: mask28.permute(0, 3, 1, 2)}
        for layer in (1, 2, 3, 4):
            for after in ("_0", "") if self.by_block else ("",):
                for name in x:
                    part = getattr(self.trunk[name], f"layer{layer}")
                    if self.by_block:
                        part = part[0] if after else part[1]
                    x[name] = part(x[name])
                    if f"{name}{layer}{after}" in self.ma:
                        x[name] = self.ma[f"{name}{layer}{after}"](x[name], masks[layer])
                if layer in self.fused_layers and after in self.fused_after:
                    weight = {name: self.iwc[f"{name}{layer}{after}"](x[name]) if self.iwc else 1.0 for name in x}
                    x["t"] = weight["t"] * x["t"] + weight["d"] * x["d"]
                    if self.depth_weighted:
                        x["d"] = weight["d"] * x["d"]
        hidden = {}
        for name in self.fc:
            hidden[name] = F.adaptive_avg_pool2d(x[name], 1).flatten(1)
            for linear in self.fc[name]:
                hidden[name] = torch.relu(linear(hidden[name]))
        if self.meeting == "fc":
            return self.last["td"](torch.cat([hidden["t"], hidden["d"]], 1))
        logits = [self.last[name](hidden[name]) for name in hidden]
        if self.meeting == "decision":
            return torch.log(sum(torch.softmax(each, 1) for each in logits) / 2)
        return logits[0]
