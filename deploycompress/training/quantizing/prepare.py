"""float network, some samples -> the same network with fake quantization, its steps fitted to weights and samples.

One forward pass finds the order in which layers run (the first and the last keep wider codes) and what each reads:
2 mean|x| / sqrt(qmax) is its first step, and codes are unsigned where no value is negative.

Source: Esser et al. 2020, arXiv:1902.08153, sections 2.1 and 3 (first and last layer in 8 bits).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from deploycompress.errors import UnknownNameError, UsageError
from deploycompress.training.network import logits
from deploycompress.training.quantizing import fake
from deploycompress.training.quantizing.layers import is_quantizable, quantize_layer
from deploycompress.training.quantizing.spec import FakeQuant


@dataclass
class _Seen:
    """What one layer read."""

    sum_abs: float = 0.0
    count: int = 0
    lowest: float = 0.0


def prepare(
    module: nn.Module, asked: FakeQuant, names: tuple[str, ...], inputs: tuple[torch.Tensor, ...]
) -> tuple[str, ...]:
    """Quantizes the Linear and Conv2d layers of `module` in place; their names, in the order they run.

    Args:
        module: A trained float network, its normalisation folded (`folding.fold_norms`).
        asked: Widths, levels, exclusions.
        names: Keywords of the inputs; empty where there is one, passed by position.
        inputs: A batch of samples to fit the steps of activations to.

    Raises:
        UnknownNameError: An excluded name is no layer.
        UsageError: There is nothing to quantize.
    """
    layers = {name: layer for name, layer in module.named_modules() if is_quantizable(layer)}
    for name in asked.exclude:
        if name not in layers:
            raise UnknownNameError("layer", name, layers)
    seen = _observed(module, layers, names, inputs)
    if not seen:
        raise UsageError("the network runs no Linear or Conv2d layer", remedy="leave qat out")
    order = tuple(seen)
    chosen = tuple(name for name in order if name not in asked.exclude)
    for name in chosen:
        edge = name in (order[0], order[-1])
        grid = asked.activations(signed=seen[name].lowest < 0, edge=edge)
        step = None if grid is None else torch.tensor(_first_step(seen[name], grid.codes[1]))
        quantize_layer(module, name, asked.weight(edge=edge), grid, step)
    return chosen


@torch.no_grad()
def _observed(
    module: nn.Module, layers: dict[str, nn.Module], names: tuple[str, ...], inputs: tuple[torch.Tensor, ...]
) -> dict[str, _Seen]:
    """What each layer reads, in the order they run."""
    seen: dict[str, _Seen] = {}

    def watch(name: str) -> object:
        def hook(_layer: nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
            x, one = arguments[0], seen.setdefault(name, _Seen())
            one.sum_abs += float(x.abs().sum(dtype=torch.float64))
            one.count += x.numel()
            one.lowest = min(one.lowest, float(x.min()))

        return hook

    handles = [layer.register_forward_pre_hook(watch(name)) for name, layer in layers.items()]  # type: ignore[arg-type]
    training = module.training
    try:
        logits(module.eval(), names, inputs)
    finally:
        for handle in handles:
            handle.remove()
        module.train(training)
    return seen


def _first_step(seen: _Seen, high: int) -> float:
    mean = seen.sum_abs / max(seen.count, 1)
    return max(2 * mean / high**0.5, fake.MIN_STEP) if mean else 1.0
