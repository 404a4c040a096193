"""predecessor, successor -> one network in which each part is either the old modules or the new one.

    y_{i+1} = scc_i(y_i) where r_{i+1} = 1, else prd_i(y_i)

Works on any ModuleList or Sequential whose members run one after the other, each taking the output of the last (of a
tuple its first entry) and the same further arguments: encoder layers of Transformers, blocks of a convolutional net.

Source: Xu et al., BERT-of-Theseus, EMNLP 2020 (arXiv:2002.02925), section 3.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any, Self

import torch
from torch import nn

from deploycompress.errors import UnknownNameError, UsageError

Group = nn.ModuleList | nn.Sequential


class Replaceable(nn.Module):
    """Some frozen modules of the predecessor and the module that takes their place; evaluated, it is the successor."""

    def __init__(self, predecessor: Sequence[nn.Module], successor: nn.Module) -> None:
        super().__init__()
        self.predecessor = nn.ModuleList(predecessor).eval().requires_grad_(False)
        self.successor = successor
        self.replaced = True

    def forward(self, x: Any, *others: Any, **keywords: Any) -> Any:  # noqa: ANN401 - as the modules
        """What the successor makes of `x` where it stands in, else what the old modules make of it in turn."""
        if self.replaced or not self.training:
            return self.successor(x, *others, **keywords)
        output: Any = x
        for module in self.predecessor:
            output = module(output[0] if isinstance(output, tuple) else output, *others, **keywords)
        return output

    def train(self, mode: bool = True) -> Self:
        """The old modules stay as they are: no dropout, no batch statistics."""
        super().train(mode)
        self.predecessor.eval()
        return self


def combine(predecessor: nn.Module, successor: nn.Module, at: str, sizes: Sequence[int] = ()) -> None:
    """Puts the members of `predecessor.at` beside those of `successor.at`, in `successor`, in place.

    Everything outside of `at` becomes the predecessor's and is frozen. Member i of the successor starts as member i of
    the predecessor (the first ones), where its shapes are the same.

    Args:
        predecessor: The trained network; its members are shared, not copied.
        successor: Has fewer members at `at`, and is the same outside.
        at: Name of the ModuleList or Sequential in both.
        sizes: How many members of the predecessor each member of the successor replaces; equal shares by default.

    Raises:
        UnknownNameError: There is nothing at `at`.
        UsageError: The members cannot be shared out, or the networks differ outside of `at`.

    Source: Xu et al. 2020, sections 3.1 and 4.3.
    """
    old, new = _group(predecessor, at), _group(successor, at)
    shares = _shares(len(old), len(new), sizes)
    _take_over(predecessor, successor, at)
    firsts = list(old)
    for number, (start, stop) in enumerate(pairwise([0, *accumulate(shares)])):
        own, first = new[number], firsts[number].state_dict()
        if {name: tensor.shape for name, tensor in own.state_dict().items()} == {n: t.shape for n, t in first.items()}:
            own.load_state_dict(first)
        new[number] = Replaceable(firsts[start:stop], own)


def replaceables(model: nn.Module) -> list[Replaceable]:
    """The parts of a combined network, in order."""
    return [module for module in model.modules() if isinstance(module, Replaceable)]


def separate(model: nn.Module) -> nn.Module:
    """The plain successor, everything in it trainable again; `model` itself, in place."""
    for name, module in list(model.named_modules()):
        if isinstance(module, Replaceable):
            model.set_submodule(name, module.successor)
    return model.requires_grad_(True)


def _group(model: nn.Module, at: str) -> Group:
    known = dict(model.named_modules())
    if at not in known:
        groups = [name for name, module in known.items() if isinstance(module, Group)]
        raise UnknownNameError("list of modules", at, groups, where=type(model).__name__)
    found = known[at]
    if not isinstance(found, Group):
        raise UsageError(f"{at} is a {type(found).__name__}", remedy="name a ModuleList or Sequential")
    return found


def _shares(old: int, new: int, sizes: Sequence[int]) -> Sequence[int]:
    if sizes:
        if len(sizes) != new or sum(sizes) != old or min(sizes) < 1:
            raise UsageError(
                f"sizes {list(sizes)} do not share {old} modules out to {new}",
                remedy=f"give {new} numbers of at least 1 that add up to {old}",
            )
        return sizes
    if old % new:
        raise UsageError(f"{old} modules cannot be shared out equally to {new}", remedy="give sizes")
    return [old // new] * new


def _take_over(predecessor: nn.Module, successor: nn.Module, at: str) -> None:
    """Gives the successor the predecessor's tensors outside of `at`, and freezes them."""
    theirs, own = (
        {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(f"{at}.")}
        for model in (predecessor, successor)
    )
    odd = sorted(
        name
        for name in theirs.keys() | own.keys()
        if name not in theirs or name not in own or theirs[name].shape != own[name].shape
    )
    if odd:
        raise UsageError(
            f"predecessor and successor differ outside of {at}: {', '.join(odd[:3])}",
            remedy="only the listed modules are replaced; the rest must be the same",
        )
    with torch.no_grad():
        for name, tensor in theirs.items():
            own[name].copy_(tensor)  # state_dict gives the tensors themselves
    for name, parameter in successor.named_parameters():
        if not name.startswith(f"{at}."):
            parameter.requires_grad_(False)
