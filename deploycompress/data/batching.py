"""signature -> which axis of the inputs is the batch; samples -> batches.

A model has a batch axis where the leading axes of all its inputs agree: all free and of one symbol, or all of one fixed
length. Anything else (a scalar among the inputs, a recurrent state with the batch in the middle) means
that only complete feeds make sense.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from deploycompress.records.signature import Signature


@dataclass(frozen=True)
class BatchAxis:
    """The leading axis of every input, if it is a batch.

    Attributes:
        exists: Whether the leading axes agree.
        length: Their fixed length; None where it is free.
    """

    exists: bool
    length: int | None = None

    @property
    def is_dynamic(self) -> bool:
        """Whether any number of samples fits in one feed."""
        return self.exists and self.length is None

    @classmethod
    def of(cls, signature: Signature) -> BatchAxis:
        """The batch axis of a model with these inputs."""
        leading = {spec.shape[0] if spec.shape else "no axis" for spec in signature.inputs}
        if not signature.inputs or any(not spec.shape or not spec.dtype for spec in signature.inputs):
            return cls(exists=False)
        lengths = {dim for dim in leading if isinstance(dim, int)}
        symbols = {dim for dim in leading if isinstance(dim, str)}
        if not lengths and len(symbols) <= 1:
            return cls(exists=True)
        if len(lengths) == 1 and not symbols and None not in leading:
            return cls(exists=True, length=lengths.pop())
        return cls(exists=False)


class HasFeed(Protocol):
    """Anything with a feed."""

    @property
    def feed(self) -> dict[str, Any]:
        """Arrays by input name."""
        ...


def runs(rows: Iterator[Any], length: int, *, keep_rest: bool) -> Iterator[list[Any]]:
    """Yields runs of `length` consecutive rows of equal shapes.

    A row that is not of batch length 1 stays alone. With `keep_rest`, a run also ends early where the shapes change or
    the rows do; without it, what is left over is dropped.
    """
    pending: list[Any] = []
    for row in rows:
        if not is_single(row):
            if pending and keep_rest:
                yield pending
                pending = []
            yield [row]
            continue
        if pending and keep_rest and _shapes(row) != _shapes(pending[0]):
            yield pending
            pending = []
        pending.append(row)
        if len(pending) == length:
            yield pending
            pending = []
    if pending and keep_rest:
        yield pending


def is_single(row: HasFeed) -> bool:
    """Whether every array of the feed has a leading axis of length 1."""
    return all(isinstance(array, np.ndarray) and array.ndim > 0 and len(array) == 1 for array in row.feed.values())


def stacked(feeds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The feeds joined on axis 0."""
    if len(feeds) == 1:
        return feeds[0]
    return {name: np.concatenate([feed[name] for feed in feeds]) for name in feeds[0]}


def _shapes(row: HasFeed) -> tuple[tuple[int, ...], ...]:
    return tuple(np.shape(array) for array in row.feed.values())
