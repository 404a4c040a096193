"""robust teacher -> robust student (ARD): (1 - alpha) CE(y, S(x + d)) + alpha T^2 KL(T(x) || S(x + d)).

d is the perturbation that hurts the student most, found anew for every batch; the teacher sees the clean input. With
alpha = 0 it is adversarial training, which makes a robust teacher: one that is not robust has nothing to hand on.

Source: Goldblum et al. 2020, "Adversarially Robust Distillation", arXiv:1905.09747, equation 3; without a teacher Madry
et al. 2018, arXiv:1706.06083, equation 2.1.
"""

from __future__ import annotations

import torch
from torch import nn

from deploycompress.training.batches import Batch
from deploycompress.training.distillation.attack import Attack, attacked
from deploycompress.training.frozen import Frozen
from deploycompress.training.losses import IGNORED, cross_entropy, hinton, soft_targets
from deploycompress.training.network import logits
from deploycompress.training.objective import Objective
from deploycompress.training.offline import check_same_classes, told


class Robust(Objective):
    """Distillation of clean answers into attacked ones.

    Args:
        teacher: The frozen teacher, itself robust.
        attack: The perturbation.
        temperature: T.
        alpha: Share of the teacher.
    """

    takes_cached_logits = True

    def __init__(self, teacher: Frozen, attack: Attack, *, temperature: float, alpha: float) -> None:
        super().__init__()
        self.teacher, self.attack, self.temperature, self.alpha = teacher, attack, temperature, alpha

    def forward(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """The loss at the perturbed inputs."""
        harder = attacked(model, batch, self.attack)
        student, teacher = logits(model, harder.names, harder.inputs), told(self.teacher, batch)
        if self.alpha == 1:
            return soft_targets(student, teacher, self.temperature, valid=batch.labels != IGNORED)
        return hinton(student, teacher, batch.labels, temperature=self.temperature, alpha=self.alpha)

    def check(self, model: nn.Module, batch: Batch) -> None:
        """The same classes on both sides, and inputs that can be attacked."""
        check_same_classes(self.teacher, model, batch)
        attacked(model, batch, self.attack)


class Adversarial(Objective):
    """Cross-entropy on the labels at perturbed inputs: adversarial training, no teacher."""

    def __init__(self, attack: Attack) -> None:
        super().__init__()
        self.attack = attack

    def forward(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """CE(y, z(x + d))."""
        harder = attacked(model, batch, self.attack)
        return cross_entropy(logits(model, harder.names, harder.inputs), batch.labels)
