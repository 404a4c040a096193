"""Adversaries: a robust teacher hands robustness on (ADV-1); a discriminator beside the distance of logits (ADV-2).

Source of the methods: Goldblum et al. 2020, arXiv:1905.09747; Xu, Hsu, Huang 2017, arXiv:1709.00513.
"""

from __future__ import annotations

from torch import nn

from bench.methods.check import Check, Figures, fresh
from bench.methods.experiment import accuracy, digits, few_labels, mlp, repeated, trained
from deploycompress.training.distillation.attack import Attack, robust_accuracy
from deploycompress.training.distillation.gan import Gan
from deploycompress.training.distillation.robust import Adversarial, Robust
from deploycompress.training.frozen import Frozen
from deploycompress.training.offline import Offline

TRAINED_AGAINST, JUDGED_BY = Attack(0.1, 0.025, 5), Attack(0.1, 0.02, 10)


def adv_1(seed: int) -> Figures:
    """64-32-10 students: labels, a clean teacher, a robust teacher (ARD), adversarial training; clean and attacked."""
    data, test = digits(seed)
    settings = {"batch_size": 64, "seed": seed}
    clean, robust = (
        Frozen(trained(mlp(seed, 64, 256, 256, 10), data, objective, lr=2e-3, epochs=20, **settings))
        for objective in (None, Adversarial(TRAINED_AGAINST))
    )
    objectives = {
        "CE": None,
        "KD": Offline(clean, temperature=4.0, alpha=0.9),
        "ARD": Robust(robust, TRAINED_AGAINST, temperature=30.0, alpha=1.0),
        "adversarial training": Adversarial(TRAINED_AGAINST),
    }
    figures = {}
    for name, objective in objectives.items():
        student = trained(mlp(seed, 64, 32, 10), data, objective, lr=5e-3, epochs=60, **settings)
        figures[f"{name}, clean"] = accuracy(student, test)
        figures[f"{name}, attacked"] = 100 * robust_accuracy(student, test, JUDGED_BY)
    return figures


def adv_2(seed: int) -> Figures:
    """Student 64-12-10 on 100 samples: labels, with a discriminator, with the distance of logits, with both."""
    data, test = digits(seed)
    teacher = Frozen(trained(mlp(seed, 64, 256, 256, 10), data, lr=1e-3, epochs=40, batch_size=64, seed=seed))
    few = repeated(few_labels(data, 100, seed), 60)

    def student(objective: Gan | None) -> nn.Module:
        # The gradient of |z_s - z_t| does not fade near the goal: the rate has to.
        settings = {"lr": 1e-2, "schedule": "cosine", "epochs": 15, "batch_size": 100, "seed": seed}
        return trained(mlp(seed, 64, 12, 10), few, objective, **settings)

    return {
        "CE": accuracy(student(None), test),
        "GAN": accuracy(student(Gan(teacher, 10, distance=0.0, adversarial=0.1)), test),
        "L1": accuracy(student(Gan(teacher, 10, distance=1.0, adversarial=0.0)), test),
        "GAN + L1": accuracy(student(Gan(teacher, 10, distance=1.0, adversarial=0.1)), test),
    }


CHECKS = (
    Check(
        "ADV-1",
        fresh(3),
        adv_1,
        lambda mean: (
            mean["ARD, attacked"] >= mean["KD, attacked"] + 8
            and mean["ARD, attacked"] >= mean["CE, attacked"] + 25
            and mean["ARD, clean"] >= mean["CE, clean"] - 3
        ),
        "under attack (PGD-10, 0.1) ARD at least 8 points above KD and 25 above CE; clean no more than 3 below CE",
    ),
    Check(
        "ADV-2",
        tuple(range(2000, 2005)),
        adv_2,
        lambda mean: (
            mean["GAN + L1"] >= mean["CE"] + 4
            and mean["GAN + L1"] >= mean["L1"] - 1.5
            and mean["GAN"] >= mean["CE"] - 0.5
        ),
        "100 labels: GAN + L1 at least 4 points above CE and no more than 1.5 below L1; GAN no more than 0.5 below CE",
    ),
)
