"""Generations: on digits they lose nothing, and their ensemble is no worse than their mean (BAN-1).

The gain that the paper reports needs data that a network does not separate at once; it is not reproduced here.

Source of the method: Furlanello et al. 2018, arXiv:1805.04770.
"""

from __future__ import annotations

from bench.methods.check import Check, Figures, fresh
from bench.methods.experiment import accuracy, digits, few_labels, mlp, repeated, trained
from deploycompress.training.distillation.born_again import BornAgain
from deploycompress.training.distillation.ensemble import Ensemble
from deploycompress.training.frozen import Frozen

GENERATIONS = 3


def ban_1(seed: int) -> Figures:
    """64-128-64-10 on 150 labels, three generations (teacher alone, T = 1), each with its own seed; their ensemble."""
    data, test = digits(seed)
    few = repeated(few_labels(data, 150, seed), 20)
    settings = {"lr": 2e-3, "epochs": 6, "batch_size": 50}
    newest = trained(mlp(seed, 64, 128, 64, 10), few, seed=seed, **settings)
    figures, family = {"teacher": accuracy(newest, test)}, []
    for generation in range(1, GENERATIONS + 1):
        own = seed + 100 * generation
        objective = BornAgain(Frozen(newest), "ban")
        newest = trained(mlp(own, 64, 128, 64, 10), few, objective, seed=own, **settings)
        figures[f"generation {generation}"] = accuracy(newest, test)
        family.append(newest)
    figures["ensemble"] = accuracy(Ensemble(family).eval(), test)
    figures["best generation"] = max(figures[f"generation {number}"] for number in range(1, GENERATIONS + 1))
    return figures


CHECKS = (
    Check(
        "BAN-1",
        fresh(4),
        ban_1,
        lambda mean: (
            mean["best generation"] >= mean["teacher"] - 1.0
            and mean["ensemble"]
            >= sum(mean[f"generation {number}"] for number in range(1, GENERATIONS + 1)) / GENERATIONS - 0.3
        ),
        "best generation no more than 1.0 point below its first teacher; ensemble no more than 0.3 below their mean",
    ),
)
