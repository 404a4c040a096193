"""state dict of a network that lost units, network as its factory makes it -> the network in those shapes."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from deploycompress.training.pruning.structured import MARK, mark

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def resize(module: nn.Module, state: Mapping[str, torch.Tensor]) -> bool:
    """Gives layers the shapes that `state` has for them, in place, where it says that units were removed; whether so.

    What does not fit afterwards is left for the loading of the state dict to name.
    """
    if MARK not in state:
        return False
    for name, layer in module.named_modules():
        own = {part: state.get(f"{name}.{part}") for part, _ in [*_tensors(layer)]}
        weight = own.get("weight")
        if weight is None or weight.shape == layer.weight.shape or not _sized(layer, weight):
            continue
        for part, tensor in own.items():
            if tensor is not None:
                empty = torch.empty_like(tensor)
                setattr(layer, part, nn.Parameter(empty) if part in layer._parameters else empty)
    mark(module)
    return True


def _tensors(layer: nn.Module) -> list[tuple[str, torch.Tensor]]:
    return [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]


def _sized(layer: nn.Module, weight: torch.Tensor) -> bool:
    """Sets the sizes that a layer keeps beside its tensors; whether its kind is known."""
    if isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = weight.shape
    elif isinstance(layer, _CONVOLUTIONS):
        if layer.groups > 1 and layer.groups == layer.in_channels:  # depthwise: a group for each channel
            layer.groups = layer.in_channels = weight.shape[0] * layer.in_channels // layer.out_channels
        layer.out_channels, layer.in_channels = weight.shape[0], weight.shape[1] * layer.groups
    elif isinstance(layer, _NORMS):
        layer.num_features = weight.shape[0]
    elif isinstance(layer, nn.LayerNorm):
        layer.normalized_shape = tuple(weight.shape)
    else:
        return False
    return True
