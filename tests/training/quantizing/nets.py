"""Networks of the kinds that are quantized, and samples for them."""

from __future__ import annotations

import torch
from torch import nn


def convolutional() -> nn.Module:
    """Conv-BN-ReLU, Conv-GELU (negative activations), Linear on [batch, 64] with 128, 64 and 10 outputs."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3),
        nn.GELU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 128),
        nn.ReLU(),
        nn.Linear(128, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )
    norm = net[1]
    assert isinstance(norm, nn.BatchNorm2d)
    norm.running_mean += 0.3  # type: ignore[operator]
    norm.running_var *= 2.0  # type: ignore[operator]
    return net.eval()


class Tokens(nn.Module):
    """Linear layers on [batch, tokens, 32], which exporters write as MatMul and Add."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.up, self.norm, self.down = nn.Linear(32, 64), nn.LayerNorm(64), nn.Linear(64, 32)
        self.head = nn.Linear(32, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x + self.down(torch.relu(self.norm(self.up(x)))))

    def example_inputs(self) -> torch.Tensor:
        return samples_of_tokens()


def quantizable() -> tuple[nn.Module, torch.Tensor]:
    return convolutional(), samples()


def samples() -> torch.Tensor:
    return torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(2))


def samples_of_tokens() -> torch.Tensor:
    return torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(3))
