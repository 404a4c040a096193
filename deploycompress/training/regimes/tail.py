"""first (1 - rho) of a run on labels; the rest under the network as it then was: (1 - alpha) CE + alpha T^2 KL.

Tail self-distillation: the teacher is a copy of the student taken during its own training.
"""

from __future__ import annotations

import torch
from torch import nn

from deploycompress.training.batches import Batch
from deploycompress.training.frozen import Earlier
from deploycompress.training.losses import cross_entropy, hinton
from deploycompress.training.network import logits
from deploycompress.training.objective import Objective
from deploycompress.training.offline import told


class Tail(Objective):
    """Labels alone, then labels and the network's own earlier answers.

    Args:
        model: The network that is trained; the copy takes its shape.
        rho: Share of the run that is taught by the copy.
        temperature: T > 0.
        alpha: Weight of the copy's answers.
    """

    started: torch.Tensor

    def __init__(self, model: nn.Module, *, rho: float, temperature: float, alpha: float) -> None:
        super().__init__()
        self.earlier, self.rho, self.temperature, self.alpha = Earlier(model), rho, temperature, alpha
        self.register_buffer("started", torch.zeros((), dtype=torch.bool))

    def forward(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """CE, and after the copy was taken the Hinton loss under it."""
        outputs = logits(model, batch.names, batch.inputs)
        if not self.started:
            return cross_entropy(outputs, batch.labels)
        earlier = told(self.earlier, batch)
        return hinton(outputs, earlier, batch.labels, temperature=self.temperature, alpha=self.alpha)

    def before_update(self, model: nn.Module, update: int, updates: int) -> None:
        """Takes the copy when the tail begins."""
        if update == round((1 - self.rho) * updates):
            self.earlier.remember(model)
            self.started.fill_(True)
