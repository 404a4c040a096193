"""source of samples -> the numbers of the usable ones, the reasons of the others, and a fingerprint.

`fingerprint = sha256(label 1 || digest 1 || label 2 || digest 2 || ...)`; a digest covers the names, element types,
shapes and bytes of the feed as the model gets it (see `summary`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator

from deploycompress.data.conform import Conform
from deploycompress.data.samples import Samples, Skipped
from deploycompress.data.source import Entry, Source, Unusable
from deploycompress.data.summary import Summary, summarize
from deploycompress.errors import DataRejectedError
from deploycompress.records.progress import Track, silent
from deploycompress.records.signature import Signature

_REASONS_SHOWN = 3


def judge(
    source: str,
    reader: Source,
    signature: Signature,
    *,
    limit: int | None = None,
    valid_for_accuracy: bool = True,
    track: Track = silent,
) -> Samples:
    """Reads every sample once and keeps the numbers of the usable ones.

    With `limit`, that many samples spread evenly over the source are judged, and further ones for those that are
    unusable; a source of unknown length gives its first ones.

    Raises:
        DataRejectedError: None is usable; the first reasons are given.
    """
    judging = _Judging(Conform.to(signature))
    for wanted in _rounds(reader.count, limit, judging):
        total = reader.count if wanted is None else len(wanted)
        for entry in track(reader.read(wanted), "reading samples", total):
            judging.add(entry)
            if limit is not None and len(judging.good) == limit:
                break
    return judging.finished(source, reader, valid_for_accuracy)


class _Judging:
    """What is known so far; indices may come in several rounds."""

    def __init__(self, conform: Conform) -> None:
        self.conform = conform
        self.good: dict[int, Summary] = {}
        self.bad: dict[int, Skipped] = {}
        self.notes: dict[str, int] = {}
        self.unlabelled = 0
        self.has_whole_feeds = False

    def add(self, entry: Entry) -> None:
        if isinstance(entry.found, Unusable):
            self.bad[entry.index] = Skipped(entry.path, str(entry.found))
            return
        try:
            feed, notes = self.conform(entry.found)
        except Unusable as reason:
            self.bad[entry.index] = Skipped(entry.found.name, str(reason))
            return
        self.good[entry.index] = summarize(feed, entry.found.label, entry.found.name)
        self.unlabelled += entry.found.label is None
        self.has_whole_feeds |= entry.found.whole
        for note in notes:
            self.notes[note] = self.notes.get(note, 0) + 1

    def finished(self, source: str, reader: Source, valid_for_accuracy: bool) -> Samples:
        skipped = (*(Skipped(*pair) for pair in reader.refused), *(self.bad[index] for index in sorted(self.bad)))
        if not self.good:
            raise DataRejectedError(_summary(skipped), where=source, remedy="mend them or give others")
        length = self.conform.axis.length
        per_feed = 1 if length is None or self.has_whole_feeds else length
        good = sorted(self.good)
        notes = [*reader.notes, *(f"{note} ({count} samples)" for note, count in self.notes.items())]
        if len(good) < per_feed:
            raise DataRejectedError(
                f"{len(good)} usable samples do not fill the fixed batch of {per_feed} that the model takes",
                where=source,
                remedy="give more samples, or export the model with a dynamic batch",
            )
        if rest := len(good) % per_feed:
            notes.append(f"the last {rest} samples do not fill a batch of {per_feed} and are left out")
            good = good[:-rest]
        if 0 < self.unlabelled < len(self.good):
            notes.append(f"{self.unlabelled} of {len(self.good)} samples have no label, so accuracy cannot be measured")
        summaries = tuple(self.good[index] for index in good)
        return Samples(
            source=source,
            fingerprint=_fingerprint(summaries),
            skipped=skipped,
            notes=tuple(notes),
            labelled=self.unlabelled == 0,
            valid_for_accuracy=valid_for_accuracy,
            summaries=summaries,
            _reader=reader,
            _conform=self.conform,
            _good=tuple(good),
            _per_feed=per_feed,
        )


def _rounds(count: int | None, limit: int | None, judging: _Judging) -> Iterator[Collection[int] | None]:
    """Which numbers to judge: all, or evenly spread ones until enough are good or none is left."""
    if limit is None or count is None or limit >= count:
        yield None
        return
    left = list(range(count))
    while left and len(judging.good) < limit:
        needed = min(limit - len(judging.good), len(left))
        chosen = frozenset(left[n * len(left) // needed] for n in range(needed))
        left = [index for index in left if index not in chosen]
        yield chosen


def _summary(skipped: Collection[Skipped]) -> str:
    if not skipped:
        return "there is no sample in it"
    shown = "; ".join(f"{item.path}: {item.reason}" for item in list(skipped)[:_REASONS_SHOWN])
    more = f"; and {len(skipped) - _REASONS_SHOWN} more" if len(skipped) > _REASONS_SHOWN else ""
    return f"not one usable sample ({shown}{more})"


def _fingerprint(summaries: Collection[Summary]) -> str:
    whole = hashlib.sha256()
    for summary in summaries:
        whole.update(repr(summary.label).encode() + summary.digest)
    return whole.hexdigest()
