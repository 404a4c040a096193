"""tensors of equal length -> batches, gathered row-wise, in an order that a generator fixes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

Tensors = tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class Batch:
    """Some samples: `inputs` as the network takes them, `labels`, and `targets` (the teacher's logits) where given."""

    names: tuple[str, ...]
    inputs: Tensors
    labels: torch.Tensor
    targets: torch.Tensor | None


class Rows(Dataset[Tensors]):
    """Tensors of equal length, indexed by lists of rows: one gather per batch."""

    def __init__(self, tensors: Tensors) -> None:
        self.tensors = tensors

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, index: int) -> Tensors:
        return tuple(tensor[index] for tensor in self.tensors)

    def __getitems__(self, indices: list[int]) -> Tensors:
        return tuple(tensor[indices] for tensor in self.tensors)


def loader(rows: Rows, batch_size: int, order: torch.Generator | None) -> DataLoader[Tensors]:
    """Batches of rows, shuffled by `order` where given.

    A last batch of one sample is left out of a shuffled pass: normalisation has no statistics of one sample.
    """
    lone = order is not None and len(rows) > batch_size > 1 and len(rows) % batch_size == 1
    return DataLoader(rows, batch_size, shuffle=order is not None, generator=order, collate_fn=_as_is, drop_last=lone)


def _as_is(batch: Any) -> Any:  # noqa: ANN401 - the rows were gathered already
    return batch


def gather(names: tuple[str, ...], tensors: Sequence[torch.Tensor]) -> Batch:
    """A Batch from the tensors of one batch: the inputs, the labels, and the targets where there are any."""
    inputs = max(len(names), 1)
    return Batch(
        names, tuple(tensors[:inputs]), tensors[inputs], tensors[inputs + 1] if len(tensors) > inputs + 1 else None
    )
