"""frozen teacher, student -> (1 - alpha) CE(y, z_s) + alpha T^2 KL(teacher || student): distillation as Hinton has it.

Source: Hinton, Vinyals, Dean 2015, arXiv:1503.02531; with alpha = 1 (teacher only, no labels) Bucila et al. 2006,
"Model compression".
"""

from __future__ import annotations

import torch
from torch import nn

from deploycompress.errors import UsageError
from deploycompress.training.batches import Batch
from deploycompress.training.frozen import Frozen
from deploycompress.training.losses import IGNORED, hinton, soft_targets
from deploycompress.training.losses.checks import check_soft_loss
from deploycompress.training.network import logits
from deploycompress.training.objective import Objective


def told(teacher: nn.Module, batch: Batch) -> torch.Tensor:
    """The teacher's logits of a batch: computed beforehand, or now without gradients."""
    if batch.targets is not None:
        return batch.targets
    with torch.no_grad():
        return logits(teacher, batch.names, batch.inputs)


def check_same_classes(teacher: nn.Module, student: nn.Module, batch: Batch) -> None:
    """Whether teacher and student answer a small batch in the same shape.

    Raises:
        UsageError: They do not.
    """
    with torch.no_grad():
        expected, answered = (logits(module, batch.names, batch.inputs) for module in (teacher, student))
    if expected.shape != answered.shape:
        raise UsageError(
            f"the teacher's logits are {tuple(expected.shape)} for two samples, the student's {tuple(answered.shape)}",
            remedy="distillation by logits needs the same classes in the same order",
        )


class Offline(Objective):
    """(1 - alpha) CE + alpha T^2 KL(teacher || student) under a teacher that does not change."""

    takes_cached_logits = True

    def __init__(self, teacher: Frozen, *, temperature: float, alpha: float) -> None:
        super().__init__()
        self.teacher, self.temperature, self.alpha = teacher, temperature, alpha

    def forward(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """The two terms of a batch; with alpha = 1 the labels say no more than which positions count."""
        student, teacher = logits(model, batch.names, batch.inputs), told(self.teacher, batch)
        if self.alpha == 1:
            return soft_targets(student, teacher, self.temperature, valid=batch.labels != IGNORED)
        return hinton(student, teacher, batch.labels, temperature=self.temperature, alpha=self.alpha)

    def check(self, model: nn.Module, batch: Batch) -> None:
        """The same classes on both sides; the loss is 0 at the teacher's logits and scaled by T^2."""
        check_same_classes(self.teacher, model, batch)
        check_soft_loss(told(self.teacher, batch), self.temperature)
