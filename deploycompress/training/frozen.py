"""teacher -> module that only answers: eval mode for ever, no gradients, nothing of it in a state dict.

A teacher in training mode drops out at random, and its BatchNorm statistics drift even without gradients.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import nn


class Frozen(nn.Module):
    """A teacher inside an objective; it follows the objective to its device and is invisible otherwise.

    The module is held beside the tree of submodules, so that parameters(), state_dict() and train() of what contains it
    pass it by: optimizers do not train it, snapshots and checkpoints do not hold it.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._held = (module.eval().requires_grad_(False),)

    @property
    def module(self) -> nn.Module:
        """The network itself, to tap its layers."""
        return self._held[0]

    def forward(self, *inputs: torch.Tensor, **keywords: torch.Tensor) -> Any:  # noqa: ANN401 - as the network
        """What the network answers, outside of any gradient."""
        with torch.no_grad():
            return self.module(*inputs, **keywords)

    def _apply(self, fn: Callable[..., torch.Tensor], recurse: bool = True) -> Self:
        self.module._apply(fn, recurse)  # type: ignore[no-untyped-call]
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self


class Earlier(nn.Module):
    """A copy of a network as it once was, in eval mode; unlike `Frozen` a snapshot holds it, for no file does."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = copy.deepcopy(module).eval().requires_grad_(False)

    def remember(self, module: nn.Module) -> None:
        """Takes over the weights and statistics that `module` has now."""
        self.module.load_state_dict(module.state_dict())

    def forward(self, *inputs: torch.Tensor, **keywords: torch.Tensor) -> Any:  # noqa: ANN401 - as the network
        """What the network answered then, outside of any gradient."""
        with torch.no_grad():
            return self.module(*inputs, **keywords)

    def train(self, mode: bool = True) -> Self:
        """Does nothing: the past does not drop out."""
        return self
