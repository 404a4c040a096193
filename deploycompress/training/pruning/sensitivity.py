"""network, a measure of it -> how much of each layer can go: its drop when it alone is pruned, scaled to a goal.

    s_l = max {s : measure(whole) - measure(l alone pruned to s) <= tolerance};  shares = clamp(c s_l, 0, most)

with c such that all layers together have the sparsity asked for.

Source: Han et al. 2015 (arXiv:1506.02626), section 3.3; Li et al., Pruning Filters, ICLR 2017 (arXiv:1608.08710), 3.2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn

from deploycompress.errors import UsageError
from deploycompress.training.pruning.masks import keep_best
from deploycompress.training.pruning.scores import magnitude

LEVELS = tuple(level / 10 for level in range(1, 10))
MOST = 0.99
_HALVINGS = 60


@torch.no_grad()
def scan(
    model: nn.Module,
    weights: Mapping[str, nn.Parameter],
    measure: Callable[[nn.Module], float],
    levels: Sequence[float] = LEVELS,
) -> dict[str, dict[float, float]]:
    """{layer: {sparsity: drop of `measure`}}, each layer pruned alone by magnitude; the model is left as it was."""
    whole = measure(model)
    drops: dict[str, dict[float, float]] = {}
    for name, weight in weights.items():
        kept = weight.detach().clone()
        drops[name] = {}
        for level in levels:
            weight.copy_(kept * keep_best(magnitude(kept), round((1 - level) * kept.numel())))
            drops[name][level] = whole - measure(model)
        weight.copy_(kept)
    return drops


def shares(
    drops: Mapping[str, Mapping[float, float]], sizes: Mapping[str, int], sparsity: float, tolerance: float
) -> dict[str, float]:
    """The sparsity of each layer, so that all together have `sparsity`.

    Args:
        drops: From `scan`.
        sizes: Weights by layer.
        sparsity: Of all layers together.
        tolerance: Drop that a layer alone may cause.

    Raises:
        UsageError: Not reached even with `MOST` of every layer that can be pruned at all gone.
    """
    alone = {
        name: max((level for level, drop in of.items() if drop <= tolerance), default=0.0) for name, of in drops.items()
    }
    total = sum(sizes.values())

    def scaled(factor: float) -> dict[str, float]:
        return {name: min(MOST, factor * share) for name, share in alone.items()}

    def reached(factor: float) -> float:
        return sum(share * sizes[name] for name, share in scaled(factor).items()) / total

    low, high = 0.0, MOST / min((share for share in alone.values() if share), default=1.0)
    if reached(high) < sparsity:
        raise UsageError(
            f"a drop of {tolerance:g} per layer leaves room for a sparsity of {reached(high):.3g}, not {sparsity:g}",
            remedy="allow a larger tolerance, or prune less",
        )
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if reached(middle) < sparsity else (low, middle)
    return scaled(high)
