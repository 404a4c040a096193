"""state dict of a network trained with fake quantization, float network -> the network that the state dict fits."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from deploycompress.training.quantizing.folding import fold_norms
from deploycompress.training.quantizing.layers import is_quantizable, quantize_layer
from deploycompress.training.quantizing.quantizers import input_grid, weight_grid

_KIND = ".weight_quantizer.kind"


def restore(module: nn.Module, state: Mapping[str, torch.Tensor]) -> bool:
    """Folds normalisation and puts in the quantizers that `state` speaks of, in place; whether there are any.

    Layers that `module` does not have are left for the loading of the state dict to name.
    """
    found = [name.removesuffix(_KIND) for name in state if name.endswith(_KIND)]
    if not found:
        return False
    fold_norms(module)
    layers = {name for name, layer in module.named_modules() if is_quantizable(layer)}
    for name in layers.intersection(found):
        kind, step = (state.get(f"{name}.input_quantizer.{part}") for part in ("kind", "step"))
        quantize_layer(module, name, weight_grid(state[name + _KIND]), None if kind is None else input_grid(kind), step)
    return True
