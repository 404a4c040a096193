"""network -> the same with fewer channels and neurons; Torch-Pruning ties what must go together.

A unit is a row of a layer with its bias, its normalisation, and the columns of all layers that read it; residual
additions and concatenations tie units of several layers. What is tied to a convolution in groups of several channels
stays. `ratio` is of units: weights fall by about 1 - (1 - ratio)^2.

The network itself is changed; its state dict then says so (`MARK`), and `restoring` gives a fresh network these shapes.

Source: Fang et al., DepGraph, CVPR 2023 (arXiv:2301.12900), equations 3-6; Torch-Pruning 1.6 (its implementation).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch_pruning
from torch import nn

from deploycompress.errors import UnknownNameError, UsageError

MARK = "units_removed"
_OUT = {nn.Linear: "prune_linear_out_channels", nn.Conv2d: "prune_conv_out_channels"}
Example = torch.Tensor | tuple[torch.Tensor, ...] | dict[str, torch.Tensor]


def remove_channels(
    model: nn.Module, example: Example, ratio: float, *, exclude: Sequence[str] = (), round_to: int = 1
) -> None:
    """Removes the share `ratio` of the units of every group, those of least L2 norm over the whole group, in place.

    Args:
        model: The network.
        example: An input to trace it with.
        ratio: Share of the units of a group.
        exclude: Layers whose outputs stay as they are; the last Linear always does.
        round_to: Units left are a multiple of this.

    Raises:
        UnknownNameError: An excluded name is no module.
    """
    modules = dict(model.named_modules())
    for name in exclude:
        if name not in modules:
            raise UnknownNameError("module", name, modules)
    last = [module for module in modules.values() if isinstance(module, nn.Linear)][-1:]
    ignored = {*[modules[name] for name in exclude], *last}
    graph = torch_pruning.DependencyGraph().build_dependency(model, example_inputs=example)
    norm = torch_pruning.importance.GroupMagnitudeImportance(p=2)
    done: set[nn.Module] = set()
    for layer in list(modules.values()):
        if type(layer) not in _OUT or layer in done or getattr(layer, "groups", 1) > 1:
            continue
        cut, units = getattr(torch_pruning, _OUT[type(layer)]), layer.weight.shape[0]
        group = graph.get_pruning_group(layer, cut, list(range(units)))
        tied = {member.target.module for member, _ in group if graph.is_out_channel_pruning_fn(member.handler)}
        done |= tied
        left = max(round_to, round(units * (1 - ratio) / round_to) * round_to)
        if not tied & ignored and not any(_grouped(module) for module in tied) and left < units:
            graph.get_pruning_group(layer, cut, norm(group).argsort()[: units - left].tolist()).prune()
    mark(model)


def _grouped(layer: nn.Module) -> bool:
    """Whether its channels lie in groups of several, which would have to lose as many each."""
    return (
        isinstance(layer, nn.Conv2d)
        and layer.groups > 1
        and not layer.groups == layer.in_channels == layer.out_channels
    )


def remove_units(model: nn.Module, example: Example, units: Mapping[str, Sequence[int]]) -> None:
    """Removes the output units named by layer, with all that hangs on them, in place.

    Raises:
        UsageError: A layer is neither Linear nor Conv2d, would lose all its units, or shares them with another one.
    """
    removed = dict[str, int]()
    for name, indices in units.items():
        layer = model.get_submodule(name)
        if type(layer) not in _OUT:
            raise UsageError(f"{name} is a {type(layer).__name__}; units of Linear and Conv2d can be removed")
        if len(indices) >= layer.weight.shape[0]:  # type: ignore[index]
            raise UsageError(f"{name} would lose all of its {len(indices)} units")
        if not len(indices):
            continue
        graph = torch_pruning.DependencyGraph().build_dependency(model, example_inputs=example)
        group = graph.get_pruning_group(layer, getattr(torch_pruning, _OUT[type(layer)]), list(indices))
        group.prune()
        removed[name] = len(indices)
    if removed:
        mark(model)


def mark(model: nn.Module) -> None:
    """Writes into the state dict that shapes are no longer those of the factory."""
    if MARK not in dict(model.named_buffers()):
        model.register_buffer(MARK, torch.ones((), dtype=torch.uint8))
