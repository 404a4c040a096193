"""hint (teacher's layer), guided layer -> FitNets: first the lower half of the student fits the hint, then it distils.

    hints       |u_hint - r(v_guided)|^2 / variance of u_hint, over the guided part and the regressor r alone
    afterwards  (1 - alpha) CE + alpha T^2 KL(teacher || student), alpha falling linearly, over all weights

Where the hints leave too much of the hint's variance unexplained the first phase did nothing for the student, and the
run stops there. Hints need no labels.

Source: Romero et al. 2015, "FitNets: Hints for Thin Deep Nets", arXiv:1412.6550, equations 2 to 4 and section 3.1.
"""

from __future__ import annotations

import torch
from torch import nn

from deploycompress.errors import UsageError
from deploycompress.training.batches import Batch
from deploycompress.training.distillation.matching import mask_of, trimmed
from deploycompress.training.distillation.phases import Phases
from deploycompress.training.features import tapped
from deploycompress.training.frozen import Frozen
from deploycompress.training.losses.attention_maps import same_size
from deploycompress.training.losses.hidden import unexplained
from deploycompress.training.network import logits
from deploycompress.training.objective import Objective
from deploycompress.training.offline import Offline

_MOMENTUM = 0.95
_SMALL = 0.005  # the paper's range of initial weights


class Hints(Objective):
    """Unexplained share of the variance of the hint, behind a regressor.

    Args:
        teacher: The frozen teacher.
        hint: Name of its layer.
        guided: Name of the student's layer.
        student: The student, to see how wide its layer is.
        batch: A few samples, to see the same.

    Raises:
        UnknownNameError: There is no such layer.
        UsageError: The layers do not go together.
    """

    unexplained: torch.Tensor

    def __init__(self, teacher: Frozen, hint: str, guided: str, student: nn.Module, batch: Batch) -> None:
        super().__init__()
        self.teacher, self.hint, self.guided = teacher, hint, guided
        with torch.no_grad():
            answered, told = self._outputs(student, trimmed(batch))
        self.regressor = regressor(answered, told)
        self.register_buffer("unexplained", torch.tensor(torch.nan))

    def forward(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Unexplained share of the hint's variance in a batch; its running mean is kept."""
        batch = trimmed(batch)
        answered, told = self._outputs(model, batch)
        if answered.ndim == 4:
            answered, told = same_size(answered, told)
            channels_last = (0, 2, 3, 1)
            loss = unexplained(self.regressor(answered).permute(channels_last), told.permute(channels_last))
        else:
            loss = unexplained(self.regressor(answered), told, mask_of(batch) if told.ndim == 3 else None)
        value = loss.detach()
        self.unexplained.copy_(
            value if self.unexplained.isnan() else _MOMENTUM * self.unexplained + (1 - _MOMENTUM) * value
        )
        return loss

    def figures(self) -> dict[str, float]:
        """The running mean of the unexplained share."""
        return {"hint_unexplained": self.unexplained.item()}

    def _outputs(self, model: nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        with tapped(model, [self.guided]) as seen:
            logits(model, batch.names, batch.inputs)
        with tapped(self.teacher.module, [self.hint]) as known:
            logits(self.teacher, batch.names, batch.inputs)
        return seen[self.guided], known[self.hint]


class Annealed(Offline):
    """Distillation whose share of the teacher goes linearly from `alpha` to `last`."""

    def __init__(self, teacher: Frozen, *, temperature: float, alpha: float, last: float) -> None:
        super().__init__(teacher, temperature=temperature, alpha=alpha)
        self.first, self.last = alpha, last

    def before_update(self, model: nn.Module, update: int, updates: int) -> None:
        """Sets the share of this update."""
        self.alpha = self.first + (self.last - self.first) * update / max(updates - 1, 1)


class FitNets(Phases):
    """Hints, then distillation; between them the gate.

    Args:
        hints: The first phase.
        distilling: The second.
        share: Of all updates for the hints.
        limit: Largest unexplained share of the hint's variance to go on with.
    """

    def __init__(self, hints: Hints, distilling: Objective, *, share: float, limit: float) -> None:
        super().__init__([hints, distilling], [share])
        self.limit = limit

    def before_update(self, model: nn.Module, update: int, updates: int) -> None:
        """Enters the second phase only where the first one served.

        Raises:
            UsageError: It did not.
        """
        before = self.now
        super().before_update(model, update, updates)
        hints = self._all[0]
        assert isinstance(hints, Hints)
        left = hints.unexplained.item()
        if before == 0 and self.now == 1 and not left <= self.limit:
            raise UsageError(
                f"the hints leave {left:.2f} of the variance of {hints.hint} unexplained, more than {self.limit:g}",
                where=hints.guided,
                remedy="train the hints longer, name an earlier hint, or a later guided layer",
            )


def regressor(answered: torch.Tensor, told: torch.Tensor) -> nn.Module:
    """From the shape of a guided layer to that of the hint, [batch, ..., channels] or feature maps.

    Small weights and a bias at the mean of the hint let it start as a constant guess. A hint without negative values is
    fitted behind a ReLU, as the paper has the non-linearity of both the same.

    Raises:
        UsageError: One is feature maps and the other is not.
    """
    if answered.ndim != told.ndim:
        raise UsageError(
            f"the guided layer puts out {tuple(answered.shape)}, the hint is {tuple(told.shape)}",
            remedy="name layers of the same kind",
        )
    layer: nn.Linear | nn.Conv2d
    if told.ndim == 4:
        layer = nn.Conv2d(answered.shape[1], told.shape[1], 3, padding=1)
        mean = told.mean((0, 2, 3))
    else:
        layer = nn.Linear(answered.shape[-1], told.shape[-1])
        mean = told.flatten(0, -2).mean(0)
    assert layer.bias is not None
    nn.init.uniform_(layer.weight, -_SMALL, _SMALL)
    with torch.no_grad():
        layer.bias.copy_(mean)
    return nn.Sequential(layer, nn.ReLU()) if bool((told >= 0).all()) else layer
