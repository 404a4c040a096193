"""objectives one after the other within one run: the first for its share of the updates, then the next.

One optimizer and one rate go through all of them, and where a run stands is a function of the update number, so that a
resumed run is the unbroken one. Parameters that a phase does not reach have no gradient and stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from deploycompress.training.batches import Batch
from deploycompress.training.objective import Objective


class Phases(Objective):
    """Objectives in turn.

    Args:
        objectives: In their order.
        shares: Share of all updates of every one but the last, which has the rest.
    """

    def __init__(self, objectives: Sequence[Objective], shares: Sequence[float]) -> None:
        super().__init__()
        self.objectives, self.shares = nn.ModuleList(objectives), tuple(shares)
        self.now = 0

    def forward(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """The loss of the phase that the run is in."""
        loss: torch.Tensor = self._current(model, batch)
        return loss

    def check(self, model: nn.Module, batch: Batch) -> None:
        """Tests every objective."""
        for objective in self._all:
            objective.check(model, batch)

    def before_update(self, model: nn.Module, update: int, updates: int) -> None:
        """Enters the phase of this update and hands on, counted from the start of the phase."""
        self.now, start, length = self._at(update, updates)
        self._current.before_update(model, update - start, length)

    def after_update(self, model: nn.Module, update: int, updates: int) -> None:
        """Hands on, counted from the start of the phase."""
        _, start, length = self._at(update, updates)
        self._current.after_update(model, update - start, length)

    def figures(self) -> dict[str, float]:
        """The number of the phase, from 1, and what it has to say."""
        return {"phase": self.now + 1.0, **self._current.figures()}

    def finish(self, model: nn.Module) -> nn.Module:
        """What the last objective makes of the network."""
        return self._all[-1].finish(model)

    @property
    def _all(self) -> list[Objective]:
        return [objective for objective in self.objectives if isinstance(objective, Objective)]

    @property
    def _current(self) -> Objective:
        return self._all[self.now]

    def _at(self, update: int, updates: int) -> tuple[int, int, int]:
        """(number of the phase, its first update, how many it has)."""
        start = 0
        for number, share in enumerate(self.shares):
            length = round(share * updates)
            if update < start + length:
                return number, start, length
            start += length
        return len(self.shares), start, updates - start
