"""labelled batch, unlabelled pool, teacher -> CE(labelled) + lambda(t) D(pool), lambda rising from 0 to 1.

D is T^2 KL(teacher || student) on soft targets, or cross-entropy on the teacher's classes where it is confident. The
mean runs over all samples drawn from the pool, so that a sample filtered out counts as 0.
Source: Lee 2013, "Pseudo-Label", ICML workshop; Xie et al. 2020, "Noisy Student", arXiv:1911.04252; Chen et al. 2020,
arXiv:2006.10029, section 2 (distillation with unlabelled examples).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from deploycompress.training.arrays import Arrays
from deploycompress.training.batches import Batch
from deploycompress.training.frozen import Frozen
from deploycompress.training.losses import cross_entropy, soft_targets
from deploycompress.training.losses.checks import check_soft_loss
from deploycompress.training.network import logits
from deploycompress.training.objective import Objective
from deploycompress.training.offline import check_same_classes, told
from deploycompress.training.processes import here


class SemiSupervised(Objective):
    """Labels where there are some, the teacher where there are none.

    Args:
        teacher: Answers on the pool.
        pool: Unlabelled samples; their labels are not looked at.
        targets: Soft answers, or classes filtered by confidence.
        threshold: Least probability of a class that is taken for a label.
        ratio: Samples of the pool per labelled one.
        ramp: Share of the run over which lambda rises.
        temperature: T > 0, of soft targets.
    """

    def __init__(
        self,
        teacher: Frozen,
        pool: Arrays,
        *,
        targets: Literal["soft", "hard"] = "soft",
        threshold: float = 0.9,
        ratio: int = 1,
        ramp: float = 0.3,
        temperature: float = 4.0,
    ) -> None:
        super().__init__()
        self.teacher, self.targets, self.threshold = teacher, targets, threshold
        self.ratio, self.ramp, self.temperature, self.weight = ratio, ramp, temperature, 0.0
        self.pool = pool

    def forward(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """The labelled term and the weighted term of as many samples drawn from the pool as `ratio` says."""
        labelled = cross_entropy(logits(model, batch.names, batch.inputs), batch.labels)
        drawn = self._draw(len(batch), batch.labels.device)
        return labelled + self.weight * self.unlabelled(logits(model, drawn.names, drawn.inputs), drawn)

    def unlabelled(self, student: torch.Tensor, batch: Batch) -> torch.Tensor:
        """D of a batch of the pool, a mean over its samples."""
        teacher = told(self.teacher, batch)
        if self.targets == "soft":
            return soft_targets(student, teacher, self.temperature)
        confidence, classes = teacher.float().softmax(dim=-1).max(dim=-1)
        losses = nn.functional.cross_entropy(student.flatten(0, -2).float(), classes.flatten(), reduction="none")
        return (losses * (confidence.flatten() >= self.threshold)).mean()

    def check(self, model: nn.Module, batch: Batch) -> None:
        """As of plain distillation."""
        check_same_classes(self.teacher, model, batch)
        check_soft_loss(told(self.teacher, batch), self.temperature)

    def before_update(self, model: nn.Module, update: int, updates: int) -> None:
        """Lambda = update / (ramp updates), at most 1."""
        rising = self.ramp * updates
        self.weight = min(1.0, update / rising) if rising else 1.0

    def _draw(self, labelled: int, device: torch.device) -> Batch:
        """Samples of the pool, by torch's own generator, which every epoch seeds anew; each process has its own."""
        index, processes = here().process_index, here().num_processes
        rows = torch.randint(len(self.pool), (self.ratio * labelled * processes,))[index::processes]
        inputs = tuple(tensor[rows].to(device) for tensor in self.pool.inputs)
        return Batch(self.pool.names, inputs, self.pool.labels[rows].to(device), rows.to(device))
