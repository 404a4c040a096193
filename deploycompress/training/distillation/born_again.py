"""teacher -> the next generation: the same network from new random weights, taught by the one before (T = 1).

    ban     CE(p_teacher, p_student), no labels        cwtm   CE on the labels, weighted by the teacher's confidence
    ban_l   CE(y, p_student) + CE(p_teacher, p_student)    dkpp   ban with all but the first choice shuffled

Generations are distill steps one after the other, each with its own seed; `Ensemble` averages them.

Source: Furlanello et al. 2018, "Born-Again Neural Networks", arXiv:1805.04770.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from deploycompress.training.batches import Batch
from deploycompress.training.frozen import Frozen
from deploycompress.training.losses import cross_entropy
from deploycompress.training.losses.born_again import confidence_weighted, permuted, soft_cross_entropy
from deploycompress.training.network import logits
from deploycompress.training.objective import Objective
from deploycompress.training.offline import check_same_classes, told

Form = Literal["ban", "ban_l", "cwtm", "dkpp"]


class BornAgain(Objective):
    """One generation.

    Args:
        teacher: The generation before.
        form: What is learned from it.
    """

    takes_cached_logits = True

    def __init__(self, teacher: Frozen, form: Form) -> None:
        super().__init__()
        self.teacher, self.form = teacher, form

    def forward(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """The loss of the form."""
        student, teacher = logits(model, batch.names, batch.inputs), told(self.teacher, batch)
        if self.form == "cwtm":
            return confidence_weighted(student, teacher, batch.labels)
        probabilities = teacher.float().softmax(-1)
        if self.form == "dkpp":
            return soft_cross_entropy(student, permuted(probabilities))
        soft = soft_cross_entropy(student, probabilities)
        return soft + cross_entropy(student, batch.labels) if self.form == "ban_l" else soft

    def check(self, model: nn.Module, batch: Batch) -> None:
        """The same classes on both sides."""
        check_same_classes(self.teacher, model, batch)
