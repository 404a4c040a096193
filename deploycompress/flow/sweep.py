"""batch sizes x sequence lengths x thread counts -> cells, and the feeds of each.

A sequence length replaces the one free axis of the inputs beside the batch: a feed is cut there, or repeated from its
start, so that the values stay those of real data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, product
from typing import Any

import numpy as np

from deploycompress.data import Samples
from deploycompress.errors import UnknownNameError, UnsupportedError, UsageError
from deploycompress.records.signature import Signature
from deploycompress.runtime.session import Feed

LATENCY_FEEDS = 4


@dataclass(frozen=True)
class Cell:
    """One setting that all models are timed at.

    Attributes:
        batch: Samples per run.
        sequence: Length of the free axis beside the batch; None leaves it as the samples have it.
        threads: Intra-op threads.
    """

    batch: int
    sequence: int | None
    threads: int


@dataclass(frozen=True)
class Lengths:
    """Sequence lengths, and the symbol of the axis where the user named one."""

    values: tuple[int, ...]
    symbol: str | None = None


def cells(batches: Sequence[int], lengths: Lengths | None, threads: Sequence[int]) -> tuple[Cell, ...]:
    """Every combination; the first of each makes the first cell."""
    return tuple(Cell(*each) for each in product(batches, lengths.values if lengths else (None,), threads))


def feeds(samples: Samples, signature: Signature, cell: Cell, lengths: Lengths | None) -> tuple[tuple[Feed, ...], int]:
    """The first few batches of a cell, and their size: the fixed batch of the model where one was asked for.

    Raises:
        UnsupportedError: No such batch can be made, or the inputs have no such axis.
        UsageError: Several axes are free, and none was named.
        UnknownNameError: No axis has the name that was given.
    """
    first = list(islice(samples.batches(cell.batch), LATENCY_FEEDS))
    found = len(first[0].labels)
    if cell.batch not in (1, found):
        raise UnsupportedError(
            f"no batch of {cell.batch} samples can be made from {samples.source}: the model's batch is fixed, the "
            "samples differ in shape, or there are too few",
            remedy="use --batch 1",
        )
    made = [batch.feed for batch in first if len(batch.labels) == found]
    if cell.sequence is not None:
        symbol = _symbol(signature, None if lengths is None else lengths.symbol)
        made = [_at_length(feed, signature, symbol, cell.sequence) for feed in made]
    return tuple(made), found


def _symbol(signature: Signature, named: str | None) -> str:
    free = {dim: None for spec in signature.inputs for dim in (spec.shape or ())[1:] if isinstance(dim, str)}
    if named is not None:
        if named not in free:
            raise UnknownNameError("free axis", named, free)
        return named
    if len(free) == 1:
        return next(iter(free))
    if not free:
        raise UnsupportedError("the inputs have no named free axis beside the batch", remedy="leave --seq out")
    likely = [name for name in free if "seq" in name.lower()]
    if len(likely) == 1:
        return likely[0]
    raise UsageError(
        f"several axes of the inputs are free: {', '.join(free)}", remedy=f"name one: --seq {next(iter(free))}=8,128"
    )


def _at_length(feed: Feed, signature: Signature, symbol: str, length: int) -> dict[str, Any]:
    resized = dict(feed)
    for spec in signature.inputs:
        for axis, dim in enumerate(spec.shape or ()):
            if dim == symbol:
                array = np.asarray(resized[spec.name])
                resized[spec.name] = np.take(array, np.arange(length) % array.shape[axis], axis=axis)
    return resized
