"""(model, batch) -> loss: what a run minimises, as a module, and the pair (model, objective) that the loop trains.

One loop serves every method, because whatever a method adds to "forward, loss, backward, update" is an objective:
regressors and gates are its parameters, masks and memories its buffers, schedules functions of the update number.
"""

from __future__ import annotations

import torch
from torch import nn

from deploycompress.training.batches import Batch
from deploycompress.training.losses import cross_entropy
from deploycompress.training.network import logits


class Objective(nn.Module):
    """What a run minimises: (model, batch) -> loss, a mean over the samples.

    Its parameters that require gradients are trained with the model's and kept in the snapshot, never in the checkpoint
    of the model. State that must outlive a kill is a registered buffer; a schedule is a function of (update, updates).

    Attributes:
        lr_factor: Learning rate of the objective's own parameters, as a share of the model's.
        takes_cached_logits: Whether it is content with the teacher's logits in `batch.targets`; one that looks into the
            teacher is not.
        skips_parameters: Whether a forward pass may leave trained parameters out (replaced modules, dropped layers),
            which processes that train together must look out for.
    """

    lr_factor: float = 1.0
    takes_cached_logits: bool = False
    skips_parameters: bool = False

    def forward(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """The loss of a batch, a scalar."""
        raise NotImplementedError

    def check(self, model: nn.Module, batch: Batch) -> None:
        """Tests itself on a small batch before training; no-op by default.

        Raises:
            UsageError: Teacher and student do not go together, or the loss does not behave as defined.
        """

    def before_update(self, model: nn.Module, update: int, updates: int) -> None:
        """Called before the first forward pass of update number `update` (from 0) of `updates`; no-op by default."""

    def after_update(self, model: nn.Module, update: int, updates: int) -> None:
        """Called after the optimizer's step: masks applied again, weights clipped; no-op by default."""

    def figures(self) -> dict[str, float]:
        """What the log of an epoch shall say beside the loss; nothing by default."""
        return {}

    def finish(self, model: nn.Module) -> nn.Module:
        """The network to write, made of the trained one with the weights to keep; the model itself by default."""
        return model


class LabelsOnly(Objective):
    """Cross-entropy on the labels: plain training."""

    def forward(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """CE(y, z_s)."""
        return cross_entropy(logits(model, batch.names, batch.inputs), batch.labels)


class Trainee(nn.Module):
    """A model with its objective: batch -> loss. One module, so that every process sees every trained parameter."""

    def __init__(self, model: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.model, self.objective = model, objective

    def forward(self, batch: Batch) -> torch.Tensor:
        """The loss of a batch."""
        loss: torch.Tensor = self.objective(self.model, batch)
        return loss
