"""encoder layers, importance of their weights -> side blocks cut out of them.

    F = sum over samples of (dL/dw)^2                                     one backward pass a sample
    residual dims   the width / r columns of the word table with the largest sum of F, for all layers
    q, k, v         in each head the rows with the largest sum over kept columns of F_q F_k F_v, the same for all three
    feed-forward    the inner / r rows of its first matrix with the largest sum of F

Products of squared gradients leave float32, so sums of logarithms are taken. Rows of `o` and of the second feed-forward
matrix are the residual dims, so that a residual sum adds like to like (the official code chooses rows for each).

Source: Sung, Cho, Bansal, LST, NeurIPS 2022 (arXiv:2206.06522), section 3.3; their code, "fisher-v2".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from deploycompress.errors import UsageError
from deploycompress.training.ladder.side import SideBlock

Importance = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class LayerNames:
    """Where the parts of an encoder layer lie in it; those of BERT by default."""

    query: str = "attention.self.query"
    key: str = "attention.self.key"
    value: str = "attention.self.value"
    output: str = "attention.output.dense"
    attention_norm: str = "attention.output.LayerNorm"
    up: str = "intermediate.dense"
    down: str = "output.dense"
    norm: str = "output.LayerNorm"


BERT = LayerNames()


def fisher(
    model: nn.Module, losses: Iterable[Callable[[], torch.Tensor]], names: Iterable[str]
) -> dict[str, torch.Tensor]:
    """Sum of squared gradients of the named parameters over losses of single samples; the model is left untouched."""
    chosen = {name: parameter for name, parameter in model.named_parameters() if name in set(names)}
    before = {name: parameter.requires_grad for name, parameter in chosen.items()}
    sums = {name: torch.zeros_like(parameter) for name, parameter in chosen.items()}
    for parameter in chosen.values():
        parameter.requires_grad_(True)
    try:
        for loss in losses:
            for name, gradient in zip(chosen, torch.autograd.grad(loss(), list(chosen.values())), strict=True):
                sums[name] += gradient.square()
    finally:
        for name, parameter in chosen.items():
            parameter.requires_grad_(before[name])
    return sums


def matrices(prefix: str, layers: int, table: str, names: LayerNames = BERT) -> list[str]:
    """The parameters whose importance `cut` looks at."""
    wanted = (names.query, names.key, names.value, names.up)
    return [table, *(f"{prefix}.{layer}.{name}.weight" for layer in range(layers) for name in wanted)]


def residual_dims(importance: torch.Tensor, count: int) -> torch.Tensor:
    """The `count` columns of a word table [words, d] that matter most, ascending."""
    return _best(importance.double().sum(dim=0), count)


@torch.no_grad()
def cut(
    layer: nn.Module, importance: Callable[[str], torch.Tensor], dims: torch.Tensor, heads: int, reduction: int,
    names: LayerNames = BERT,
) -> SideBlock:  # fmt: skip
    """A side block with 1 / `reduction` of the width of each head and of the feed-forward, cut out of `layer`.

    Args:
        layer: An encoder layer.
        importance: Name within the layer -> importance of that weight, of its shape.
        dims: Residual dims that stay, ascending.
        heads: Of the layer; the block has as many.
        reduction: r.
        names: Where the parts lie.

    Raises:
        UsageError: Heads or feed-forward cannot be divided by `reduction`.
    """
    attention, inner = _linear(layer, names.query).out_features, _linear(layer, names.up).out_features
    if (attention // heads) % reduction or inner % reduction:
        raise UsageError(f"heads of {attention // heads} and {inner} neurons cannot be divided by {reduction}")
    logs = sum(_log(importance(f"{name}.weight")[:, dims]) for name in (names.query, names.key, names.value))
    assert isinstance(logs, torch.Tensor)
    in_head = attention // heads
    rows = torch.cat(
        [
            head * in_head + _best(score, in_head // reduction)
            for head, score in enumerate(logs.logsumexp(dim=1).view(heads, in_head))
        ]
    )
    neurons = _best(importance(f"{names.up}.weight")[:, dims].double().sum(dim=1), inner // reduction)
    block = SideBlock(len(dims), heads, len(neurons), attention=len(rows))
    for part, name in ((block.query, names.query), (block.key, names.key), (block.value, names.value)):
        _copy(part, _linear(layer, name), rows, dims)
    _copy(block.output, _linear(layer, names.output), dims, rows)
    _copy(block.up, _linear(layer, names.up), neurons, dims)
    _copy(block.down, _linear(layer, names.down), dims, neurons)
    for norm, name in ((block.attention_norm, names.attention_norm), (block.norm, names.norm)):
        source = layer.get_submodule(name)
        norm.weight.copy_(source.weight[dims])  # type: ignore[index]
        norm.bias.copy_(source.bias[dims])  # type: ignore[index]
    return block


def _linear(layer: nn.Module, name: str) -> nn.Linear:
    found = layer.get_submodule(name)
    if not isinstance(found, nn.Linear):
        raise UsageError(f"{name} of the layer is a {type(found).__name__}, not a Linear")
    return found


def _copy(to: nn.Linear, source: nn.Linear, rows: torch.Tensor, columns: torch.Tensor) -> None:
    to.weight.copy_(source.weight[rows][:, columns])
    to.bias.copy_(source.bias[rows])


def _best(scores: torch.Tensor, count: int) -> torch.Tensor:
    return scores.sort(descending=True, stable=True).indices[:count].sort().values


def _log(importance: torch.Tensor) -> torch.Tensor:
    return importance.double().clamp_min(torch.finfo(torch.float64).tiny).log()
