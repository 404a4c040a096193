"""L = CE(y, z) of a mix of old and new modules that is drawn anew for every batch; the share of new ones grows.

    p(t) = min(1, start + (1 - start) t / (ramp T));  r_i ~ Bernoulli(p), at least one of them 1

No other loss: the old modules around it teach each new one what to do. From ramp T on all are new (successor
fine-tuning). A draw without any new module would train nothing, as all else is frozen, and is drawn again.

Source: Xu et al., BERT-of-Theseus, EMNLP 2020 (arXiv:2002.02925), sections 3.1 to 3.3.
"""

from __future__ import annotations

import torch
from torch import nn

from deploycompress.training.batches import Batch
from deploycompress.training.objective import LabelsOnly, Objective
from deploycompress.training.replacing.modules import replaceables, separate


def probability(update: int, updates: int, *, start: float, ramp: float) -> float:
    """Probability that a part is the new one, for update number `update` (from 0) of `updates`.

    Args:
        update: Updates done.
        updates: Updates of the whole run.
        start: Probability at the beginning.
        ramp: Share of the run after which it is 1; 0 for at once.
    """
    rising = ramp * updates
    return 1.0 if update >= rising else start + (1 - start) * update / rising


def draw(parts: int, p: float) -> list[bool]:
    """Which parts are new, each with probability `p`, from torch's generator."""
    return (torch.rand(parts) < p).tolist()


def draw_some(parts: int, p: float) -> list[bool]:
    """As `draw`, drawn again until at least one is new; `p` is above 0."""
    while not any(drawn := draw(parts, p)):
        pass
    return drawn


class Theseus(Objective):
    """Trains the new modules of a combined network (`modules.combine`) among the old ones.

    Attributes:
        loss: What the mixed network minimises.
        start: Probability of a new module at the beginning.
        ramp: Share of the run after which all are new.
    """

    def __init__(self, loss: Objective | None = None, *, start: float = 0.5, ramp: float = 0.5) -> None:
        super().__init__()
        self.loss, self.start, self.ramp = loss or LabelsOnly(), start, ramp
        self.p = start

    def before_update(self, model: nn.Module, update: int, updates: int) -> None:
        """Raises the probability."""
        self.p = probability(update, updates, start=self.start, ramp=self.ramp)
        self.loss.before_update(model, update, updates)

    def forward(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """The loss of a batch under a fresh draw."""
        parts = replaceables(model)
        for part, replaced in zip(parts, draw_some(len(parts), self.p), strict=True):
            part.replaced = replaced
        loss: torch.Tensor = self.loss(model, batch)
        return loss

    def after_update(self, model: nn.Module, update: int, updates: int) -> None:
        """As the loss."""
        self.loss.after_update(model, update, updates)

    def figures(self) -> dict[str, float]:
        """The probability of a new module."""
        return {"replaced": self.p, **self.loss.figures()}

    def finish(self, model: nn.Module) -> nn.Module:
        """The successor alone."""
        return separate(model)
