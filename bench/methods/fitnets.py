"""Hints: a thin, deep student without normalisation learns from a middle layer what labels alone do not teach (FIT-1).

Source of the method: Romero et al. 2015, arXiv:1412.6550.
"""

from __future__ import annotations

import torch
from torch import nn

from bench.methods.check import Check, Figures, fresh
from bench.methods.experiment import accuracy, digits, trained
from deploycompress.training.batches import few
from deploycompress.training.distillation.fitnets import Annealed, FitNets, Hints
from deploycompress.training.frozen import Frozen
from deploycompress.training.offline import Offline

HINT, GUIDED = "5", "9"
"""The teacher's second ReLU of three, and the student's fifth of nine."""


def wide(seed: int) -> nn.Sequential:
    """Three convolutions of 32, 64 and 64 channels with batch normalisation."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for inputs, outputs, stride in ((1, 32, 1), (32, 64, 2), (64, 64, 2)):
        layers += [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 4, 10))


def deep(seed: int) -> nn.Sequential:
    """Nine convolutions of 12 channels without normalisation."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for number in range(9):
        layers += [nn.Conv2d(12 if number else 1, 12, 3, 2 if number in (2, 5) else 1, 1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(12 * 4, 10))


def fit_1(seed: int) -> Figures:
    """40 epochs: on labels, of distillation, of 20 with hints and 20 of distillation."""
    data, test = digits(seed, images=True)
    teacher = Frozen(trained(wide(seed), data, lr=2e-3, epochs=15, batch_size=64, seed=seed))
    settings = {"lr": 5e-3, "schedule": "cosine", "epochs": 40, "batch_size": 64, "seed": seed}
    student = deep(seed)
    hints = Hints(teacher, HINT, GUIDED, student, few(data, 64))
    distilling = Annealed(teacher, temperature=4.0, alpha=0.9, last=0.9)
    trained(student, data, FitNets(hints, distilling, share=0.5, limit=1.0), **settings)
    distilled = trained(deep(seed), data, Offline(teacher, temperature=4.0, alpha=0.9), **settings)
    return {
        "CE": accuracy(trained(deep(seed), data, **settings), test),
        "KD": accuracy(distilled, test),
        "FitNet": accuracy(student, test),
        "hint FVU": hints.unexplained.item(),
    }


CHECKS = (
    Check(
        "FIT-1",
        fresh(3),
        fit_1,
        lambda mean: mean["hint FVU"] < 0.6 and mean["FitNet"] >= mean["CE"] + 1.5,
        "hints leave less than 0.6 of the variance, and FitNet at least 1.5 points above CE in as many updates",
    ),
)
