"""Plain distillation: few labels under a teacher that saw many (KD-1), a class that the student never saw (KD-2)."""

from __future__ import annotations

import copy

import torch
from torch import nn

from bench.methods.check import Check, Figures, fresh
from bench.methods.experiment import accuracy, digits, few_labels, mlp, repeated, take, trained
from deploycompress.training.arrays import Arrays
from deploycompress.training.frozen import Frozen
from deploycompress.training.offline import Offline


def teacher(seed: int) -> Frozen:
    """64-256-256-10, trained on all labels of the training part."""
    data, _ = digits(seed)
    return Frozen(trained(mlp(seed, 64, 256, 256, 10), data, lr=1e-3, epochs=40, batch_size=64, seed=seed))


def kd_1(seed: int) -> Figures:
    """Student 64-12-10 on 100 samples, 600 updates of 100: labels alone, and under the teacher at T = 1, 2, 4."""
    data, test = digits(seed)
    told, labelled = teacher(seed), repeated(few_labels(data, 100, seed), 60)
    settings = {"lr": 5e-3, "epochs": 10, "batch_size": 100, "seed": seed}
    figures = {"CE": accuracy(trained(mlp(seed, 64, 12, 10), labelled, **settings), test)}
    for temperature in (1.0, 2.0, 4.0):
        objective = Offline(told, temperature=temperature, alpha=0.9)
        figures[f"KD T={temperature:g}"] = accuracy(
            trained(mlp(seed, 64, 12, 10), labelled, objective, **settings), test
        )
    return figures


def kd_2(seed: int) -> Figures:
    """The transfer set has no 3; the student meets it in the teacher's soft answers alone."""
    data, test = digits(seed)
    told, without = teacher(seed), take(data, data.labels != 3)
    settings = {"lr": 1e-3, "epochs": 20, "batch_size": len(without), "seed": seed}
    without = repeated(without, 30)  # 600 updates of the whole set
    plain = trained(mlp(seed, 64, 32, 10), without, **settings)
    student = trained(mlp(seed, 64, 32, 10), without, Offline(told, temperature=8.0, alpha=0.9), **settings)
    threes = take(test, test.labels == 3)
    return {
        "3s, CE": accuracy(plain, threes),
        "3s, KD": accuracy(student, threes),
        "all, KD": accuracy(student, test),
        "all, KD with a bias on 3": accuracy(_with_bias(student, data), test),
    }


def _with_bias(student: nn.Module, data: Arrays) -> nn.Module:
    """The student with one scalar added to logit 3: of 41 between 0 and 10 the best on the training part."""
    with torch.no_grad():
        logits = student(data.inputs[0])
    steps = torch.linspace(0, 10, 41)
    right = [int(((logits + step * torch.eye(10)[3]).argmax(dim=1) == data.labels).sum()) for step in steps]
    biased = copy.deepcopy(student)
    with torch.no_grad():
        biased[-1].bias[3] += steps[int(torch.tensor(right).argmax())]
    return biased


CHECKS = (
    Check(
        "KD-1",
        fresh(5),
        kd_1,
        lambda mean: mean["KD T=4"] >= mean["CE"] + 3.0,
        "100 labels: KD (T = 4, alpha = 0.9) at least 3.0 points above CE",
        fast=True,
    ),
    Check(
        "KD-2",
        fresh(5),
        kd_2,
        lambda mean: (
            mean["3s, KD"] >= 10 and mean["3s, CE"] == 0 and mean["all, KD with a bias on 3"] >= mean["all, KD"] + 3
        ),
        "no 3 in transfer: KD (T = 8) knows 10 % of the 3s or more and CE none; a bias on class 3 lifts KD by 3",
    ),
)
