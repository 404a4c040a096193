"""Relations within a batch: a student taught by them has the teacher's similarities on samples never seen (REL-1).

Every method that compares pairs of layers is trained beside it with a weight that is found; none may cost accuracy.

Source of the method: Tung & Mori 2019, arXiv:1907.09682.
"""

from __future__ import annotations

import torch
from torch import nn

from bench.methods.check import Check, Figures, fresh
from bench.methods.experiment import accuracy, digits, trained
from bench.methods.fitnets import wide
from deploycompress.records import recipe_distilling as records
from deploycompress.training.arrays import Arrays
from deploycompress.training.distillation.layers import pair_terms
from deploycompress.training.distillation.matching import Matching
from deploycompress.training.features import tapped
from deploycompress.training.frozen import Frozen
from deploycompress.training.losses.similarity import similarities

STUDENT, TEACHER = "5", "8"
"""The last ReLU of each."""

METHODS = {
    "AT": records.AttentionTransfer,
    "SP": records.SimilarityPreserving,
    "RKD": records.Relational,
    "CC": records.CorrelationCongruence,
    "PKT": records.ProbabilisticTransfer,
}


def narrow(seed: int) -> nn.Sequential:
    """Three convolutions of 8, 16 and 16 channels."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for inputs, outputs, stride in ((1, 8, 1), (8, 16, 2), (16, 16, 2)):
        layers += [nn.Conv2d(inputs, outputs, 3, stride, 1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(16 * 4, 10))


def rel_1(seed: int) -> Figures:
    """20 epochs on labels, and with each method beside them at the weight that it finds."""
    data, test = digits(seed, images=True)
    teacher = Frozen(trained(wide(seed), data, lr=2e-3, epochs=15, batch_size=64, seed=seed))
    settings = {"lr": 2e-3, "epochs": 20, "batch_size": 64, "seed": seed}
    plain = trained(narrow(seed), data, **settings)
    figures = {"CE": accuracy(plain, test), "mismatch, CE": mismatch(plain, teacher, test)}
    for name, kind in METHODS.items():
        terms = pair_terms(kind(layers=(records.Pair(student=STUDENT, teacher=TEACHER),)))
        student = trained(narrow(seed), data, Matching(teacher, terms), **settings)
        figures[name] = accuracy(student, test)
        if name == "SP":
            figures["mismatch, SP"] = mismatch(student, teacher, test)
    return figures


@torch.no_grad()
def mismatch(student: nn.Module, teacher: Frozen, data: Arrays) -> float:
    """|G_s - G_t| / |G_t| of the similarities within `data`."""
    found = []
    for module, layer in ((student, STUDENT), (teacher.module, TEACHER)):
        with tapped(module, [layer]) as outputs:
            module(*data.inputs)
        found.append(similarities(outputs[layer]))
    return float((found[0] - found[1]).norm() / found[1].norm())


CHECKS = (
    Check(
        "REL-1",
        fresh(3),
        rel_1,
        lambda mean: (
            mean["mismatch, SP"] <= 0.9 * mean["mismatch, CE"]
            and all(mean[name] >= mean["CE"] - 1.0 for name in METHODS)
        ),
        "mismatch of similarities on test data with SP at most 0.9 of that with CE; no method below CE - 1.0 points",
    ),
)
