"""trained network, new task -> the backbone frozen and a head trained; or all of it, under its own old answers.

Learning without forgetting: CE(y_new, z_new) + alpha T^2 KL(z_old before || z_old now) on the samples of the new task.
Source: Li & Hoiem 2016, "Learning without Forgetting", arXiv:1606.09282, equations 1 and 2.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from deploycompress.errors import UnknownNameError, UsageError
from deploycompress.training.batches import Batch
from deploycompress.training.frozen import Frozen
from deploycompress.training.losses import cross_entropy, soft_targets
from deploycompress.training.objective import Objective
from deploycompress.training.regimes.multitask import answers


class Partly(Objective):
    """Another objective, while some submodules stay as they are: no gradients, eval mode.

    Args:
        inner: What is minimised.
        model: The network; its named parts are frozen here.
        names: Submodules to freeze, as `named_modules` has them.

    Raises:
        UnknownNameError: There is no such submodule.
        UsageError: Nothing is left to train.
    """

    def __init__(self, inner: Objective, model: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.inner, self.names = inner, tuple(names)
        self.lr_factor, self.skips_parameters = inner.lr_factor, inner.skips_parameters
        self.takes_cached_logits = inner.takes_cached_logits
        known = dict(model.named_modules())
        for name in self.names:
            if name not in known:
                raise UnknownNameError("submodule", name, [key for key in known if key], where=type(model).__name__)
            known[name].requires_grad_(False)
        if not any(parameter.requires_grad for parameter in model.parameters()):
            raise UsageError("freezing leaves nothing to train", remedy="leave the head out of `freeze`")

    def forward(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """The loss of the inner objective."""
        loss: torch.Tensor = self.inner(model, batch)
        return loss

    def before_update(self, model: nn.Module, update: int, updates: int) -> None:
        """Frozen parts go back to eval mode, which an epoch's start has ended: their statistics must not drift."""
        for name in self.names:
            model.get_submodule(name).eval()
        self.inner.before_update(model, update, updates)

    def after_update(self, model: nn.Module, update: int, updates: int) -> None:
        """The inner objective's."""
        self.inner.after_update(model, update, updates)

    def check(self, model: nn.Module, batch: Batch) -> None:
        """The inner objective's."""
        self.inner.check(model, batch)

    def figures(self) -> dict[str, float]:
        """The inner objective's."""
        return self.inner.figures()

    def finish(self, model: nn.Module) -> nn.Module:
        """All parameters may be trained again."""
        for name in self.names:
            model.get_submodule(name).requires_grad_(True)
        return self.inner.finish(model)


class WithoutForgetting(Objective):
    """A network with two outputs, (new task, old task), learns the first and keeps its answers on the second.

    Args:
        before: The network as it was, with the same two outputs.
        temperature: T > 0; 2 in the paper.
        alpha: Weight of the old answers; 1 in the paper.
    """

    def __init__(self, before: Frozen, *, temperature: float = 2.0, alpha: float = 1.0) -> None:
        super().__init__()
        self.before, self.temperature, self.alpha = before, temperature, alpha

    def forward(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """CE on the new task and the distance to the old answers."""
        new, old = self._two(model, batch)
        _, kept = self._two(self.before, batch)
        return cross_entropy(new, batch.labels) + self.alpha * soft_targets(old, kept, self.temperature)

    @staticmethod
    def _two(model: nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        outputs = answers(model, batch)
        if len(outputs) != 2:
            raise UsageError(f"the network has {len(outputs)} outputs", remedy="return (new task, old task)")
        return outputs[0], outputs[1]
