"""Module replacing (TH-0) from scratch on digits: 6 residual blocks give way to 3.

The predecessor is trained first. Compared under the same number of updates: its first three blocks as they are, the
same fine-tuned on labels, and Theseus (share of new blocks 0.5 rising to 1 over half the run).
"""

from __future__ import annotations

import copy

import torch
from torch import nn

from bench.methods.check import Check, Figures, fresh
from bench.methods.experiment import accuracy, digits, trained
from deploycompress.training.replacing.modules import combine
from deploycompress.training.replacing.theseus import Theseus


class Block(nn.Module):
    """x + W2 relu(W1 norm(x))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[batch, width] -> the same."""
        return x + self.down(torch.relu(self.up(self.norm(x))))


class Residual(nn.Module):
    """64 -> 32, `blocks` residual blocks, 10 classes."""

    def __init__(self, seed: int, blocks: int, width: int = 32) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.stem, self.head = nn.Linear(64, width), nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 10))
        self.blocks = nn.Sequential(*[Block(width) for _ in range(blocks)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[batch, 64] -> [batch, 10]."""
        return self.head(self.blocks(self.stem(x)))


def th_0(seed: int) -> Figures:
    """Predecessor 40 epochs; then 10 epochs (170 updates) of each way."""
    data, test = digits(seed)
    settings = {"lr": 1e-3, "batch_size": 64, "seed": seed}
    predecessor = trained(Residual(seed, 6), data, epochs=40, **settings)
    truncated = copy.deepcopy(predecessor)
    truncated.blocks = truncated.blocks[:3]  # type: ignore[index]
    tuned = trained(copy.deepcopy(truncated), data, epochs=10, **settings)
    successor = Residual(seed + 1, 3)
    combine(copy.deepcopy(predecessor), successor, "blocks")
    return {
        "predecessor": accuracy(predecessor, test),
        "truncated": accuracy(truncated, test),
        "truncated, fine-tuned": accuracy(tuned, test),
        "Theseus": accuracy(trained(successor, data, Theseus(), epochs=10, **settings), test),
    }


CHECKS = (
    Check(
        "TH-0",
        fresh(5),
        th_0,
        lambda mean: mean["Theseus"] >= mean["truncated"] + 8 and mean["Theseus"] >= mean["predecessor"] - 4,
        "6 -> 3 blocks: Theseus 8 above truncated without training, at most 4 below the predecessor",
        fast=True,
    ),
)
