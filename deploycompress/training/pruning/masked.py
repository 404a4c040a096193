"""L of any objective, over weights that are masked more and more; a masked weight stays zero.

The masks are chosen anew every `every` updates while the sparsity rises; what was pruned is zero, scores least, and
does not come back. After every update of the optimizer the masks are applied to the weights again: momentum and weight
decay move masked weights even where their gradient is zero.

Source: Zhu & Gupta 2017 (arXiv:1710.01878), section 3; Han et al. 2015 (arXiv:1506.02626), section 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from accelerate.utils import reduce
from torch import nn

from deploycompress.training.batches import Batch
from deploycompress.training.objective import LabelsOnly, Objective
from deploycompress.training.pruning import masks as choosing
from deploycompress.training.pruning import scores
from deploycompress.training.pruning.schedule import sparsity_at
from deploycompress.training.pruning.targets import prunable

Score = Literal["magnitude", "lamp", "movement"]
Scope = Literal["layer", "global"]


class Masked(Objective):
    """Prunes single weights of `model` while it trains.

    Attributes:
        loss: What the network minimises.
        final: Share of zeros in the end; by layer where `shares` are given.
        score: What decides. LAMP is compared over all layers, as it is meant.
        scope: Whether magnitudes and movements are compared within a layer or over all.
        end: Share of the run after which the masks stay; 0 masks everything at the first update.
        every: Updates between two choices.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Objective | None = None,
        *,
        final: float,
        score: Score = "magnitude",
        scope: Scope = "layer",
        shares: Mapping[str, float] | None = None,
        begin: float = 0.0,
        end: float = 0.8,
        every: int = 100,
        edges: bool = False,
        exclude: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.loss = loss or LabelsOnly()
        self.final, self.score, self.scope, self.shares = final, score, scope, shares
        self.begin, self.end, self.every = begin, end, every
        self._names = tuple(prunable(model, edges=edges, exclude=exclude))
        for number, name in enumerate(self._names):
            weight = model.get_submodule(name).weight
            self.register_buffer(f"mask_{number}", torch.ones(weight.shape, dtype=torch.bool))  # type: ignore[arg-type]
            if score == "movement":
                self.register_buffer(f"moved_{number}", torch.zeros(weight.shape))  # type: ignore[arg-type]
                weight.register_hook(self._watch(weight, number))  # type: ignore[operator, arg-type]

    def masks(self) -> dict[str, torch.Tensor]:
        """The masks now, by layer; True stays."""
        return {name: self.get_buffer(f"mask_{number}") for number, name in enumerate(self._names)}

    def forward(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """The loss of the masked network."""
        loss: torch.Tensor = self.loss(model, batch)
        return loss

    def before_update(self, model: nn.Module, update: int, updates: int) -> None:
        """Chooses masks where it is time."""
        self.loss.before_update(model, update, updates)
        last = math.ceil(self.end * updates)
        if update == last or (update < last and update % self.every == 0):
            self._choose(model, sparsity_at(update, updates, final=1.0, begin=self.begin, end=self.end))
            self._apply_masks(model)

    def after_update(self, model: nn.Module, update: int, updates: int) -> None:
        """Applies the masks again."""
        self.loss.after_update(model, update, updates)
        self._apply_masks(model)

    def figures(self) -> dict[str, float]:
        """Share of zeros."""
        return {"sparsity": choosing.sparsity_of(self.masks()), **self.loss.figures()}

    @torch.no_grad()
    def _choose(self, model: nn.Module, progress: float) -> None:
        """New masks, `progress` of the way to the final sparsity."""
        weights = {name: model.get_submodule(name).weight for name in self._names}
        found = {name: self._scores(weight, n) for n, (name, weight) in enumerate(weights.items())}  # type: ignore[arg-type]
        if self.shares is not None:
            chosen = choosing.by_share(found, {name: progress * self.shares[name] for name in found})
        elif self.score == "lamp" or self.scope == "global":
            chosen = choosing.global_(found, progress * self.final)
        else:
            chosen = choosing.uniform(found, progress * self.final)
        for number, name in enumerate(self._names):
            self.get_buffer(f"mask_{number}").copy_(chosen[name])

    def _scores(self, weight: torch.Tensor, number: int) -> torch.Tensor:
        if self.score == "movement":
            moved: torch.Tensor = reduce(self.get_buffer(f"moved_{number}"), reduction="mean")  # over all processes
            return moved.masked_fill(~self.get_buffer(f"mask_{number}"), -torch.inf)
        return scores.lamp(weight) if self.score == "lamp" else scores.magnitude(weight)

    @torch.no_grad()
    def _apply_masks(self, model: nn.Module) -> None:
        for number, name in enumerate(self._names):
            model.get_submodule(name).weight.mul_(self.get_buffer(f"mask_{number}"))  # type: ignore[operator]

    def _watch(self, weight: torch.Tensor, number: int) -> Callable[[torch.Tensor], None]:
        def hook(gradient: torch.Tensor) -> None:
            self.get_buffer(f"moved_{number}").add_(scores.movement(weight, gradient))

        return hook
