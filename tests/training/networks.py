"""Networks that the export tests name as `file.py:factory`."""

from __future__ import annotations

import torch
from torch import nn


class Convolutional(nn.Module):
    """Dropout and BatchNorm with statistics that are not those of a batch."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.convolution, self.normalise = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.drop, self.head = nn.Dropout(0.5), nn.Linear(8, 10)
        self.normalise.running_mean += 0.3
        self.normalise.running_var *= 4.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.drop(torch.relu(self.normalise(self.convolution(x))).mean((2, 3))))

    def example_inputs(self) -> torch.Tensor:
        return torch.ones(1, 1, 8, 8)


def perceptron() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 3)), torch.ones(
        2, 6
    )


class FixesItsBatch(nn.Module):
    """`view(2, -1)`: the network itself takes batches of two only."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x).view(2, -1)

    def example_inputs(self) -> torch.Tensor:
        return torch.ones(2, 8)


class IgnoresItsBatch(FixesItsBatch):
    """The answer has two rows whatever the batch."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x)[:1].expand(2, 3)


class CountsInPython(FixesItsBatch):
    """`int(x.shape[0])`: right in torch at any batch; a tracer bakes the example's batch into the file."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x).view(int(x.shape[0]), -1)


class BranchesOnData(FixesItsBatch):
    """A Python `if` on a value: torch.export refuses, a tracer takes the branch of the example."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x) * 2 if x.sum().item() > 1e9 else self.head(x)


class NotExportable(FixesItsBatch):
    """Leaves torch for numpy and comes back with something random."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x) + torch.rand(x.shape[0], 3).to(x)


class TwoInputs(nn.Module):
    """Called by keyword, with two outputs."""

    def forward(self, ids: torch.Tensor, scale: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"scaled": ids.float() * scale[:, None], "next": ids + 1}

    def example_inputs(self) -> dict[str, torch.Tensor]:
        return {"ids": torch.arange(6).reshape(2, 3), "scale": torch.tensor([0.5, 2.0])}
