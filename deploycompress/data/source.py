"""What a reader of one kind of file provides: numbered entries, readable again and in part.

`Source.read(wanted)` yields the wanted entries in rising order, each an array set or the reason why there is none. The
same source is read once to judge every entry and once for each use; nothing is kept in memory between.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

Label = int | float | NDArray[Any] | None
"""A class number, a number, an array (a reference picture, token numbers), or nothing."""


class Unusable(Exception):
    """Why one sample cannot be used; becomes a line of `Samples.skipped`."""


@dataclass(frozen=True)
class Raw:
    """One sample as a file holds it.

    Attributes:
        arrays: Arrays by name; the name "" stands for the only input of a model.
        label: Its label.
        name: How it is called in messages.
        whole: Whether the arrays are a complete feed (batch axis included) that must not be taken apart.
        notes: What the reader changed or assumed.
    """

    arrays: Mapping[str, Any]
    label: Label
    name: str
    whole: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """One numbered place of a source: a sample, or the reason why it has none."""

    index: int
    path: str
    found: Raw | Unusable


class Source(Protocol):
    """A re-readable run of samples."""

    @property
    def count(self) -> int | None:
        """Number of entries; None where only reading to the end tells."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What was assumed about the source as a whole."""
        ...

    @property
    def refused(self) -> tuple[tuple[str, str], ...]:
        """Files (path, reason) that are not part of the source."""
        ...

    def read(self, wanted: Collection[int] | None) -> Iterator[Entry]:
        """Yields the entries whose number is `wanted` (all where None), in rising order."""
        ...


@dataclass(frozen=True)
class Part:
    """A file (or a few that belong together) with one or more samples.

    Attributes:
        path: What is named when it cannot be used.
        count: Number of samples in it, known without reading them.
        read: Yields the samples of the given numbers (0 .. count - 1) in rising order; raises Unusable for the file.
    """

    path: str
    count: int
    read: Callable[[Sequence[int]], Iterator[Raw | Unusable]]


@dataclass(frozen=True)
class Files:
    """A source made of files; a file that cannot be used is one entry with its reason."""

    parts: tuple[Part, ...]
    refused: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    count: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "count", sum(part.count for part in self.parts))

    def read(self, wanted: Collection[int] | None) -> Iterator[Entry]:
        """See `Source.read`."""
        start = 0
        for part in self.parts:
            local = [n for n in range(part.count) if wanted is None or start + n in wanted]
            if local:
                yield from _read_part(part, start, local)
            start += part.count


def _read_part(part: Part, start: int, local: Sequence[int]) -> Iterator[Entry]:
    done = 0
    try:
        for found in part.read(local):
            yield Entry(start + local[done], part.path, found)
            done += 1
    except Unusable as reason:
        yield Entry(start + local[done], part.path, reason)


def relative_name(path: Path, folder: Path) -> str:
    """The name of a sample: its path below the folder that was given."""
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name
