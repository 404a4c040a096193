"""CE((1 - a_t) y + a_t P_(t-1)(x), p_t(x)) with a_t = a_E t / E: the network is taught by its answers an epoch ago.

PS-KD keeps one probability vector per sample instead of a second network.
Source: Kim et al. 2021, "Self-Knowledge Distillation with Progressive Refinement of Targets", arXiv:2006.12000,
equations 5 and 6.
"""

from __future__ import annotations

import torch
from accelerate.utils import gather_object
from torch import nn

from deploycompress.errors import UsageError
from deploycompress.training.batches import Batch
from deploycompress.training.losses import soft_cross_entropy
from deploycompress.training.network import logits
from deploycompress.training.objective import Objective


class Previous(Objective):
    """Targets between the labels and the network's answers of the epoch before.

    Args:
        samples: Training samples.
        classes: Classes of the network.
        epochs: E, epochs of the run.
        alpha: a_E, weight of the earlier answers in the last epoch.
    """

    answers: torch.Tensor
    coming: torch.Tensor

    def __init__(self, samples: int, classes: int, epochs: int, *, alpha: float = 0.8) -> None:
        super().__init__()
        self.epochs, self.alpha, self.weight = epochs, alpha, 0.0
        self.register_buffer("answers", torch.zeros(samples, classes))  # P_(t-1); a row of zeros was not seen yet
        self.register_buffer("coming", torch.zeros(samples, classes))  # P_t so far

    def forward(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Cross-entropy against the mixed targets; the answers given are kept for the next epoch."""
        outputs = logits(model, batch.names, batch.inputs)
        classes = self.answers.shape[1]
        if batch.labels.ndim != 1 or outputs.shape[1] != classes:
            raise UsageError(f"PS-KD was set up for {classes} classes and one label a sample")
        hard = nn.functional.one_hot(batch.labels, classes).float()
        before = self.answers[batch.rows]
        weight = self.weight * before.sum(dim=1, keepdim=True)  # 0 for a sample that was not seen yet
        loss = soft_cross_entropy(outputs, (1 - weight) * hard + self.weight * before)
        if self.training:
            given = gather_object([(batch.rows.cpu(), outputs.detach().float().softmax(dim=-1).cpu())])
            for rows, probabilities in given:  # of every process: all remember the same
                self.coming[rows] = probabilities.to(self.coming.device)
        return loss

    def before_update(self, model: nn.Module, update: int, updates: int) -> None:
        """At the start of an epoch its predecessor's answers become the targets; a_t grows by epochs."""
        in_epoch = updates // self.epochs
        if update % in_epoch == 0 and update:
            self.answers.copy_(self.coming)
        self.weight = self.alpha * (update // in_epoch + 1) / self.epochs
