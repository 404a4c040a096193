"""long loop -> the same loop with progress shown, without the layer below knowing who shows it.

Functions that may take over two seconds accept a `track: Track = silent` and wrap their loop in it; the command line
passes one that draws a bar on a terminal and prints plain lines elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")


class Track(Protocol):
    """Yields `items` unchanged while showing how far the loop has come."""

    def __call__(self, items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
        """Yields every item; `total` is the number of items where it is known."""
        ...


def silent(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """A `Track` that shows nothing."""
    del description, total
    yield from items
