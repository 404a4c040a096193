"""BERT encoder, sentences -> a smaller one cut out of it: fewer layers, heads and neurons, a low-rank word table.

- Layers: the named ones stay. Heads and feed-forward neurons: those stay whose contribution to the layer's output is
  largest on the sentences, sum over tokens of |W_out a|^2 for the columns of W_out that read them.
- Word embeddings: E ~ (E V) V^T with V the first right singular vectors of diag(sqrt(f + 1)) E, where f counts the
  tokens: frequent words keep more of themselves. One table [vocabulary, rank] and one matrix [rank, width].

Nothing is trained here; the result is where distillation starts.

Source: Michel et al. 2019, arXiv:1905.10650 (heads); Lan et al. 2020, ALBERT, arXiv:1909.11942 (factorized embeddings).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import ExitStack

import torch
from torch import nn


@torch.no_grad()
def shrunk(
    encoder: nn.Module,
    ids: torch.Tensor,
    mask: torch.Tensor,
    frequencies: torch.Tensor,
    *,
    layers: Sequence[int],
    heads: int,
    neurons: int,
    rank: int,
) -> nn.Module:
    """A new encoder; `encoder` (a transformers BertModel) is left as it is.

    Args:
        encoder: In eval mode.
        ids: Token ids, int64 [sentences, tokens].
        mask: 1 at real tokens, the same shape.
        frequencies: How often each token occurs in the training text, [vocabulary].
        layers: Which layers stay, from 0.
        heads: Attention heads that stay in each.
        neurons: Feed-forward neurons that stay in each.
        rank: Width of the word table.
    """
    found = _contributions(encoder, ids, mask)
    small = copy.deepcopy(encoder)
    stay = [small.encoder.layer[number] for number in layers]
    for number, layer in zip(layers, stay, strict=True):
        _cut(layer, *found[number], heads, neurons)
    small.encoder.layer = nn.ModuleList(stay)
    small.embeddings.word_embeddings = _low_rank(small.embeddings.word_embeddings.weight, frequencies, rank)
    small.config.num_hidden_layers = len(stay)
    return small.requires_grad_(True)


def _contributions(
    encoder: nn.Module, ids: torch.Tensor, mask: torch.Tensor
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """(of each head, of each neuron) for every layer, over all real tokens."""
    width = encoder.encoder.layer[0].attention.self.attention_head_size
    found: list[tuple[torch.Tensor, torch.Tensor]] = []
    with ExitStack() as hooks:
        for layer in encoder.encoder.layer:
            attended, active = layer.attention.output.dense, layer.output.dense
            of_heads = torch.zeros(attended.in_features // width, dtype=torch.float64)
            of_neurons = torch.zeros(active.in_features, dtype=torch.float64)
            for module, kept in ((attended, of_heads), (active, of_neurons)):
                hooks.callback(module.register_forward_pre_hook(_adder(module.weight, kept)).remove)
            found.append((of_heads, of_neurons))
        for row, real in zip(ids, mask.sum(dim=1).tolist(), strict=True):
            encoder(input_ids=row[None, :real], attention_mask=torch.ones(1, real, dtype=torch.int64))
    return found


def _adder(weight: torch.Tensor, total: torch.Tensor):  # noqa: ANN202 - a hook
    """Adds |W[:, group] a[group]|^2 of every token to `total`, one entry for each group of columns of W."""
    grouped = weight.double().reshape(len(weight), len(total), -1).transpose(0, 1)  # [groups, outputs, size]
    gram = grouped.transpose(1, 2) @ grouped

    def add(module: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        inputs = given[0].double().reshape(-1, *gram.shape[:2]).transpose(0, 1)  # [groups, tokens, size]
        total.add_(((inputs @ gram) * inputs).sum(dim=(1, 2)))

    return add


def _cut(layer: nn.Module, of_heads: torch.Tensor, of_neurons: torch.Tensor, heads: int, neurons: int) -> None:
    attention = layer.attention.self
    width = attention.attention_head_size
    rows = (_largest(of_heads, heads)[:, None] * width + torch.arange(width)).flatten()
    for name in ("query", "key", "value"):
        setattr(attention, name, _linear(getattr(attention, name), rows=rows))
    attention.num_attention_heads, attention.all_head_size = heads, heads * width
    layer.attention.output.dense = _linear(layer.attention.output.dense, columns=rows)
    rows = _largest(of_neurons, neurons)
    layer.intermediate.dense = _linear(layer.intermediate.dense, rows=rows)
    layer.output.dense = _linear(layer.output.dense, columns=rows)


def _largest(values: torch.Tensor, count: int) -> torch.Tensor:
    return values.topk(count).indices.sort().values


def _linear(old: nn.Linear, *, rows: torch.Tensor | None = None, columns: torch.Tensor | None = None) -> nn.Linear:
    """The rows (outputs) or columns (inputs) of a layer as a layer."""
    weight, bias = old.weight, old.bias
    if rows is not None:
        weight, bias = weight[rows], bias[rows]
    if columns is not None:
        weight = weight[:, columns]
    new = nn.Linear(weight.shape[1], weight.shape[0])
    new.weight.copy_(weight)
    new.bias.copy_(bias)
    return new


def _low_rank(table: torch.Tensor, frequencies: torch.Tensor, rank: int) -> nn.Sequential:
    weights = (frequencies.double() + 1).sqrt()
    _, _, basis = torch.linalg.svd(weights[:, None] * table.double(), full_matrices=False)
    basis = basis[:rank].to(table.dtype)  # [rank, width]
    words, back = nn.Embedding(len(table), rank), nn.Linear(rank, table.shape[1], bias=False)
    words.weight.copy_(table @ basis.T)
    back.weight.copy_(basis.T)
    return nn.Sequential(words, back)
