"""8x8 digits -> 10 logits: a residual teacher and a plain student, both Conv-BatchNorm-ReLU with 16n channels.

Widths are multiples of 16 so that the 8-bit kernels run whole blocks, and every BatchNorm stands behind a convolution
that it can be folded into.

Source: He et al. 2016, "Deep Residual Learning for Image Recognition", arXiv:1512.03385 (the teacher's blocks).
"""

from __future__ import annotations

import torch
from torch import nn


def teacher() -> nn.Module:
    """Three residual blocks, 32 to 128 channels: 537,578 weights, 2.2 MB in float32."""
    return Classifier(
        unit(1, 32),
        unit(32, 64, stride=2),
        Residual(64),
        Residual(64),
        unit(64, 128, stride=2),
        Residual(128),
        width=128,
    )


def student() -> nn.Module:
    """Three convolutions, 16 to 48 channels: 19,258 weights, 77 KB in float32."""
    return Classifier(unit(1, 16), unit(16, 32, stride=2), unit(32, 48, stride=2), width=48)


def unit(inputs: int, outputs: int, *, stride: int = 1) -> nn.Sequential:
    """3x3 convolution, batch normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class Residual(nn.Module):
    """relu(x + BN(conv(relu(BN(conv(x))))))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = unit(width, width)
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[batch, width, h, w] -> the same shape."""
        return torch.relu(x + self.second(self.first(x)))


class Classifier(nn.Module):
    """Feature blocks, mean over the image, one linear layer."""

    def __init__(self, *blocks: nn.Module, width: int, classes: int = 10) -> None:
        super().__init__()
        self.features = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(width, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images [batch, 1, 8, 8] in 0..1 -> logits [batch, 10]."""
        return self.head(self.pool(self.features(x)).flatten(1))

    def example_inputs(self) -> torch.Tensor:
        """Two random images."""
        return torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
