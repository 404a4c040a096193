"""name, exporter, opset -> ONNX file of a small convolutional net with random weights, exported here and kept.

The nets have the structures of the well-known ones, written out. Running statistics and affine parameters of BatchNorm
are drawn as if trained. "tf" means padded as TensorFlow does, one more row at the bottom than at the top; "written"
that an activation is spelt out as in its paper. Files lie under build/exported/ and are made once.

Sources: the papers of ResNet, VGG, MobileNetV2 and V3, EfficientNet, DenseNet, ShuffleNetV2, U-Net and ConvNeXt.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deploycompress.training import exporters
from deploycompress.training.example import BATCH, Inputs
from deploycompress.training.quiet import quiet

Exporter = Literal["dynamo", "legacy"]
OPSETS: dict[Exporter, int] = {"dynamo": 18, "legacy": 17}
FOLDER = Path(__file__).resolve().parent.parent / "build" / "exported"


def conv_bn(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Conv2d with "same" padding and its BatchNorm."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


def classifier(channels: int, classes: int = 10) -> nn.Sequential:
    """Global average pool and a linear layer."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


class BasicBlock(nn.Module):
    """The two-convolution residual block of ResNet."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first, self.second = conv_bn(inputs, outputs, stride=stride), conv_bn(outputs, outputs)
        self.shortcut = conv_bn(inputs, outputs, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """relu(shortcut + residual)."""
        return F.relu(self.shortcut(x) + self.second(F.relu(self.first(x))))


def resnet() -> nn.Module:
    """Stem, four residual blocks, head."""
    blocks = [BasicBlock(32, 32, 1), BasicBlock(32, 64, 2), BasicBlock(64, 64, 1), BasicBlock(64, 128, 2)]
    return nn.Sequential(conv_bn(3, 32, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1), *blocks, classifier(128))


def resnet_18() -> nn.Module:
    """The eight blocks and widths of ResNet-18."""
    widths = (64, 128, 256, 512)
    blocks = [
        block
        for number, width in enumerate(widths)
        for block in (
            BasicBlock(widths[max(0, number - 1)], width, 1 if number == 0 else 2),
            BasicBlock(width, width, 1),
        )
    ]
    return nn.Sequential(conv_bn(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1), *blocks, classifier(512, 1000))


def vgg() -> nn.Module:
    """Plain convolutions with bias, dropout between the linear layers."""
    features = []
    for inputs, outputs in ((3, 32), (32, 64), (64, 64)):
        features += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    head = [nn.Flatten(), nn.Linear(64 * 8 * 8, 128), nn.ReLU(), nn.Dropout(), nn.Linear(128, 10)]
    return nn.Sequential(*features, *head)


class InvertedResidual(nn.Module):
    """Expand, depthwise, project; ReLU6; optionally padded as TensorFlow does where it strides."""

    def __init__(self, inputs: int, outputs: int, stride: int, *, tf: bool = False) -> None:
        super().__init__()
        wide = 4 * inputs
        depthwise = conv_bn(wide, wide, 3, stride, groups=wide)
        if tf and stride == 2:
            depthwise[0].padding = (0, 0)
            depthwise = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), *depthwise)
        self.body = nn.Sequential(
            conv_bn(inputs, wide, 1), nn.ReLU6(), depthwise, nn.ReLU6(), conv_bn(wide, outputs, 1)
        )
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """The residual only where shapes agree."""
        return x + self.body(x) if self.residual else self.body(x)


def mobilenet_v2(*, tf: bool = False) -> nn.Module:
    """Four inverted residuals."""
    plan = ((16, 24, 2), (24, 24, 1), (24, 32, 2), (32, 32, 1))
    return nn.Sequential(
        conv_bn(3, 16, 3, 2), nn.ReLU6(), *(InvertedResidual(*row, tf=tf) for row in plan), classifier(32)
    )


class SqueezeExcite(nn.Module):
    """Channel attention by two 1x1 convolutions on the pooled map."""

    def __init__(self, channels: int, inner: nn.Module, gate: nn.Module) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(channels, channels // 4, 1), nn.Conv2d(channels // 4, channels, 1)
        self.inner, self.gate = inner, gate

    def forward(self, x: Tensor) -> Tensor:
        """Gated: x * gate(up(inner(down(mean(x)))))."""
        return x * self.gate(self.up(self.inner(self.down(x.mean((2, 3), keepdim=True)))))


class WrittenHardSwish(nn.Module):
    """x * relu6(x + 3) / 6, as published before the operator existed."""

    def forward(self, x: Tensor) -> Tensor:
        """The formula."""
        return x * F.relu6(x + 3) / 6


class WrittenHardSigmoid(nn.Module):
    """relu6(x + 3) / 6."""

    def forward(self, x: Tensor) -> Tensor:
        """The formula."""
        return F.relu6(x + 3) / 6


def excited(activation: type[nn.Module], gate: type[nn.Module], inner: type[nn.Module]) -> nn.Module:
    """Depthwise-separable stages with squeeze and excitation."""
    stages = []
    for inputs, outputs in ((16, 32), (32, 48), (48, 64)):
        depthwise = [conv_bn(inputs, inputs, 5, 2, groups=inputs), activation()]
        stages += [*depthwise, SqueezeExcite(inputs, inner(), gate()), conv_bn(inputs, outputs, 1), activation()]
    return nn.Sequential(conv_bn(3, 16), activation(), *stages, classifier(64))


class DenseBlock(nn.Module):
    """Pre-activated layers whose outputs are all concatenated."""

    def __init__(self, inputs: int, growth: int, layers: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm2d(inputs + i * growth) for i in range(layers))
        self.convs = nn.ModuleList(nn.Conv2d(inputs + i * growth, growth, 3, padding=1) for i in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        """The concatenation of the input and every layer."""
        for norm, conv in zip(self.norms, self.convs, strict=True):
            x = torch.cat([x, conv(F.relu(norm(x)))], 1)
        return x


def densenet() -> nn.Module:
    """Two dense blocks with a transition."""
    transition = [nn.BatchNorm2d(64), nn.ReLU(), nn.Conv2d(64, 32, 1, bias=False), nn.AvgPool2d(2)]
    dense = [DenseBlock(16, 16, 3), *transition, DenseBlock(32, 16, 2)]
    return nn.Sequential(conv_bn(3, 16, 3, 2), nn.ReLU(), *dense, nn.BatchNorm2d(64), nn.ReLU(), classifier(64))


class ShuffleUnit(nn.Module):
    """Half of the channels pass, half are convolved, then channels are shuffled."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.branch = nn.Sequential(
            *(conv_bn(half, half, 1), nn.ReLU()),
            *(conv_bn(half, half, 3, groups=half), conv_bn(half, half, 1), nn.ReLU()),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Split, convolve, concatenate, shuffle in two groups."""
        kept, convolved = x.chunk(2, 1)
        joined = torch.cat([kept, self.branch(convolved)], 1)
        batch, channels, height, width = joined.shape
        shuffled = joined.view(batch, 2, channels // 2, height, width).transpose(1, 2)
        return shuffled.reshape(batch, channels, height, width)


def shufflenet() -> nn.Module:
    """A stem and three shuffle units."""
    return nn.Sequential(conv_bn(3, 48, 3, 2), nn.ReLU(), *(ShuffleUnit(48) for _ in range(3)), classifier(48))


class UNet(nn.Module):
    """Two levels; up-sampling to the size of the skipped map."""

    def __init__(self) -> None:
        super().__init__()
        self.down1 = nn.Sequential(conv_bn(3, 16), nn.ReLU())
        self.down2 = nn.Sequential(conv_bn(16, 32), nn.ReLU())
        self.bottom = nn.Sequential(conv_bn(32, 32), nn.ReLU())
        self.up2 = nn.Sequential(conv_bn(64, 16), nn.ReLU())
        self.up1 = nn.Sequential(conv_bn(32, 16), nn.ReLU(), nn.Conv2d(16, 4, 1))

    def forward(self, x: Tensor) -> Tensor:
        """One map of class scores."""
        first = self.down1(x)
        second = self.down2(F.max_pool2d(first, 2))
        deep = self.bottom(F.max_pool2d(second, 2))
        deep = F.interpolate(deep, size=second.shape[2:], mode="bilinear", align_corners=False)
        deep = F.interpolate(self.up2(torch.cat([deep, second], 1)), scale_factor=2, mode="nearest")
        return self.up1(torch.cat([deep, first], 1))


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution, then LayerNorm and two linear layers on channels-last values."""

    def __init__(self, channels: int, approximate: str) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.wide, self.narrow = nn.Linear(channels, 4 * channels), nn.Linear(4 * channels, channels)
        self.scale, self.approximate = nn.Parameter(torch.full((channels,), 0.5)), approximate

    def forward(self, x: Tensor) -> Tensor:
        """The residual of the block."""
        hidden = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        hidden = self.scale * self.narrow(F.gelu(self.wide(hidden), approximate=self.approximate))
        return x + hidden.permute(0, 3, 1, 2)


def convnext() -> nn.Module:
    """A stem and three blocks, GELU by the error function and by tanh."""
    blocks = [ConvNeXtBlock(32, form) for form in ("none", "tanh", "none")]
    return nn.Sequential(nn.Conv2d(3, 32, 4, 4), *blocks, classifier(32))


class ChannelsLast(nn.Module):
    """What a converter of TensorFlow graphs writes: every operator between two transposes."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList([conv_bn(3, 16), conv_bn(16, 16), conv_bn(16, 16)])

    def forward(self, x: Tensor) -> Tensor:
        """Channels-last image -> channels-last map."""
        skip = None
        for number, conv in enumerate(self.convs):
            x = conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
            x = torch.clamp(x, 0.0, 6.0)
            if number == 1:
                x = x + skip if skip is not None else x
            skip = x
        return F.max_pool2d(x.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)


_BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "resnet": resnet,
    "resnet-18": resnet_18,
    "vgg": vgg,
    "mobilenet-v2": mobilenet_v2,
    "mobilenet-v2-tf": lambda: mobilenet_v2(tf=True),
    "mobilenet-v3": lambda: excited(nn.Hardswish, nn.Hardsigmoid, nn.ReLU),
    "mobilenet-v3-written": lambda: excited(WrittenHardSwish, WrittenHardSigmoid, nn.ReLU),
    "efficientnet": lambda: excited(nn.SiLU, nn.Sigmoid, nn.SiLU),
    "densenet": densenet,
    "shufflenet": shufflenet,
    "unet": UNet,
    "convnext": convnext,
    "channels-last": ChannelsLast,
}
_LARGE = {"resnet-18": 224}  # side of the image in pixels; 64 for all others
NAMES = tuple(name for name in _BUILDERS if name not in _LARGE)


def net(name: str) -> nn.Module:
    """One of `NAMES` with random weights, the same ones every time, ready to run."""
    torch.manual_seed(0)
    return _with_statistics(_BUILDERS[name]().eval())


def exported(name: str, exporter: Exporter = "dynamo", opset: int = 18, *, folder: Path = FOLDER) -> Path:
    """The file of one export, made where it is absent: 64x64 images (224x224 for ResNet-18), a free batch.

    Args:
        name: One of `NAMES`, or "resnet-18".
        exporter: Which of torch's exporters.
        opset: Asked of the exporter.
        folder: Where the files are kept.
    """
    path = folder / f"{name}-{exporter}-{opset}.onnx"
    if path.is_file():
        return path
    module = net(name)
    inputs = Inputs(("image",), (torch.from_numpy(feed(name, 2)["image"]),), ({0: BATCH},))
    with quiet():
        exporters.export(exporter, module, inputs, ("scores",), path, opset)
    return path


def feed(name: str, batch: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Standard normal images."""
    side = _LARGE.get(name, 64)
    shape = (batch, side, side, 3) if name == "channels-last" else (batch, 3, side, side)
    return {"image": np.random.default_rng(seed).standard_normal(shape).astype(np.float32)}


def _with_statistics(net: nn.Module) -> nn.Module:
    """The net with the running statistics and affine parameters of a trained one."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
    return net
