"""tensors of equal length -> batches, gathered row-wise, in an order that a generator fixes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from deploycompress.training.arrays import Arrays

Tensors = tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class Batch:
    """Some samples.

    Attributes:
        names: Keywords of the inputs; empty where there is one, passed by position.
        inputs: As the network takes them.
        labels: int64, [batch] or [batch, tokens].
        rows: int64, [batch]: numbers of the samples in the training data.
        targets: The teacher's logits, where they were computed beforehand.
    """

    names: tuple[str, ...]
    inputs: Tensors
    labels: torch.Tensor
    rows: torch.Tensor
    targets: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)


class Rows(Dataset[Tensors]):
    """Tensors of equal length, indexed by lists of rows: one gather per batch."""

    def __init__(self, tensors: Tensors) -> None:
        self.tensors = tensors

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, index: int | slice) -> Tensors:
        return tuple(tensor[index] for tensor in self.tensors)

    def __getitems__(self, indices: list[int]) -> Tensors:
        return tuple(tensor[indices] for tensor in self.tensors)


class ByLength(Sampler[list[int]]):
    """Batches of rows of about the same length, so that little of a batch is padding; every pass another shuffle.

    Rows are shuffled, every `_POOL` batches sorted by length and cut, and the batches shuffled.
    """

    _POOL = 50

    def __init__(self, lengths: torch.Tensor, batch_size: int, order: torch.Generator, *, left_out: int) -> None:
        self.lengths, self.batch_size, self.order = lengths, batch_size, order
        self.kept = len(lengths) - left_out

    def __len__(self) -> int:
        return math.ceil(self.kept / self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        rows = torch.randperm(len(self.lengths), generator=self.order)[: self.kept]
        batches = [
            batch
            for pool in torch.split(rows, self._POOL * self.batch_size)
            for batch in torch.split(pool[self.lengths[pool].argsort(stable=True)], self.batch_size)
        ]
        for number in torch.randperm(len(batches), generator=self.order).tolist():
            yield batches[number].tolist()


def loader(
    rows: Rows,
    batch_size: int,
    order: torch.Generator | None,
    lengths: torch.Tensor | None = None,
    *,
    processes: int = 1,
) -> DataLoader[Tensors]:
    """Batches of rows, shuffled by `order` where given, rows of like `lengths` together where those are given.

    A last batch that leaves a process with one sample is left out of a shuffled pass: normalisation has no statistics
    of one sample.
    """
    rest = len(rows) % batch_size
    lone = order is not None and len(rows) > batch_size > 1 and 0 < rest <= processes
    if order is not None and lengths is not None:
        sampler = ByLength(lengths, batch_size, order, left_out=rest if lone else 0)
        return DataLoader(rows, batch_sampler=sampler, collate_fn=_as_is)
    return DataLoader(rows, batch_size, shuffle=order is not None, generator=order, collate_fn=_as_is, drop_last=lone)


def _as_is(batch: Any) -> Any:  # noqa: ANN401 - the rows were gathered already
    return batch


def rows_of(data: Arrays, targets: torch.Tensor | None = None) -> Rows:
    """The samples with their numbers, and the teacher's logits where given, in the order that `gather` reads."""
    return Rows((*data.inputs, data.labels, torch.arange(len(data)), *(() if targets is None else (targets,))))


def gather(names: tuple[str, ...], tensors: Sequence[torch.Tensor], device: torch.device | None = None) -> Batch:
    """A Batch from the tensors of one batch: the inputs, labels, row numbers, and the targets where there are any."""
    inputs = max(len(names), 1)
    moved = [tensor.to(device) for tensor in tensors]
    return Batch(names, tuple(moved[:inputs]), *moved[inputs:])


def few(data: Arrays, count: int = 2) -> Batch:
    """The first samples, to try networks and objectives on."""
    return gather(data.names, rows_of(data)[slice(count)])
