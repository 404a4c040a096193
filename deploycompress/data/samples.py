"""source of samples + signature -> a re-iterable stream of feeds that the model takes.

`judging` has read every sample once and kept the numbers of the good ones; every pass here reads those again, so memory
does not depend on how many there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from deploycompress.data.batching import runs, stacked
from deploycompress.data.conform import Conform
from deploycompress.data.source import Label, Source, Unusable
from deploycompress.data.summary import Summary
from deploycompress.errors import DataRejectedError


@dataclass(frozen=True)
class Sample:
    """One feed.

    Attributes:
        feed: Arrays by input name, as the model takes them: the batch axis has length 1, or the fixed length of the
            model, or whatever a complete feed (`.pb`) brought.
        label: Its label; None where there is none, and for a fixed batch above 1 (see `Samples.batches`).
        name: Where it came from.
    """

    feed: dict[str, Any]
    label: Label
    name: str


@dataclass(frozen=True)
class Batch:
    """Several samples in one feed; `labels` and `names` have one entry a sample, in order of the batch axis."""

    feed: dict[str, Any]
    labels: tuple[Label, ...]
    names: tuple[str, ...]


@dataclass(frozen=True)
class Skipped:
    """A file or sample that is not used, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Samples:
    """Feeds for one model, in a fixed order; iterate as often as needed.

    Attributes:
        source: What the user named.
        fingerprint: sha256 over names, types, shapes and bytes of every feed and over the labels.
        skipped: Everything that is not used, with its reason.
        notes: What was converted or assumed on the way.
        labelled: Whether every sample has a label.
        valid_for_accuracy: False for random data: no accuracy or range measured on it means anything.
        summaries: What was kept of every sample while it was judged.
    """

    source: str
    fingerprint: str
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]
    labelled: bool
    valid_for_accuracy: bool
    summaries: tuple[Summary, ...]
    _reader: Source
    _conform: Conform
    _good: tuple[int, ...]
    _per_feed: int

    @property
    def examples(self) -> int:
        """Number of samples; a fixed batch of B takes B of them for one feed."""
        return len(self._good)

    def __len__(self) -> int:
        """Number of feeds that one iteration yields."""
        return self.examples // self._per_feed

    def __iter__(self) -> Iterator[Sample]:
        """Yields every feed once."""
        if self._per_feed == 1:
            yield from self._rows()
            return
        for rows in runs(self._rows(), self._per_feed, keep_rest=False):
            yield Sample(stacked([row.feed for row in rows]), None, f"{rows[0].name} .. {rows[-1].name}")

    def picked(self, positions: Iterable[int]) -> Samples:
        """The feeds at these positions (0 .. len - 1) alone, in the order of the source; the fingerprint stays."""
        size = self._per_feed
        rows = [size * position + row for position in sorted(set(positions)) for row in range(size)]
        good = tuple(self._good[row] for row in rows)
        return replace(self, summaries=tuple(self.summaries[row] for row in rows), _good=good)

    def batches(self, size: int) -> Iterator[Batch]:
        """Yields feeds of up to `size` consecutive samples of equal shapes, stacked on axis 0.

        A model with a fixed batch gets exactly its length whatever `size` is; complete feeds stay alone.
        """
        if size < 1:
            raise ValueError(f"a batch of {size} samples is not possible")
        dynamic = self._conform.axis.is_dynamic
        for rows in runs(self._rows(), size if dynamic else self._per_feed, keep_rest=dynamic):
            yield Batch(stacked([r.feed for r in rows]), tuple(r.label for r in rows), tuple(r.name for r in rows))

    def _rows(self) -> Iterator[Sample]:
        wanted = frozenset(self._good)
        found = 0
        for entry in self._reader.read(wanted):
            if isinstance(entry.found, Unusable):
                raise DataRejectedError(f"it changed while in use: {entry.found}", where=entry.path)
            try:
                feed, _ = self._conform(entry.found)
            except Unusable as reason:
                raise DataRejectedError(f"it changed while in use: {reason}", where=entry.path) from reason
            found += 1
            yield Sample(feed, entry.found.label, entry.found.name)
            if found == len(wanted):
                return
        raise DataRejectedError(
            f"it gave {len(wanted)} samples at first and {found} now", where=self.source, remedy="make it repeatable"
        )
