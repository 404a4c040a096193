"""calibration files of shares 1/n .. n/n -> the calibration of all samples, as one pass would have made it.

Sample k belongs to share `k mod n + 1`. Counts, extremes and histograms of the result are bit for bit those of one
pass; channel sums and Gram matrices are float64 sums in another order.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from pathlib import Path

from deploycompress.calibration.files import Calibration
from deploycompress.calibration.gram import LayerInput
from deploycompress.calibration.header import DataOrigin, Origin, Shard
from deploycompress.calibration.statistics import Statistics
from deploycompress.errors import CalibrationRejectedError, UsageError

# Names of fields and how a message calls them; a path may differ between machines, what it holds may not.
_ORIGIN = {
    "model_sha256": "another model",
    "package_version": "another version of deploycompress",
    "target": "another target",
    "rewrites": "a graph rewritten otherwise",
}
_DATA = {
    "preprocess": "another preprocessing",
    "tokenizer_sha256": "another tokenizer",
    "fingerprint": "other samples",
    "feeds": "another number of samples",
}


def parse(text: str) -> Shard:
    """The share that `i/n` names.

    Raises:
        UsageError: It names none.
    """
    index, slash, count = text.partition("/")
    if not slash or not index.isdecimal() or not count.isdecimal() or not 1 <= int(index) <= int(count):
        raise UsageError(f"there is no share {text!r}", where="--shard", remedy="give i/n with i from 1 to n")
    return Shard(index=int(index), count=int(count))


def joined(parts: Mapping[Path, Calibration]) -> Calibration:
    """The calibration over the samples of all `parts`.

    Raises:
        CalibrationRejectedError: A part is not a share, overlaps another, is missing, or belongs to something else.
    """
    (first_path, first), *others = parts.items()
    shares: dict[Shard, Path] = {}
    for path, part in parts.items():
        shard = _shard(part, path)
        if shard in shares:
            raise _rejected(f"it holds share {shard}, as {shares[shard]} does", path, "give each share once")
        shares[shard] = path
        _check_complete(part, shard, path)
    for path, part in others:
        what = difference(first.origin, part.origin)
        if what:
            raise _rejected(f"it was made from {what} than {first_path} was", path, "join shares of one calibration")
        if _looked_at(part, path) != _looked_at(first, first_path):
            raise _rejected(f"it was not split as {first_path} was", path, "join shares of one calibration")
    count = _shard(first, first_path).count
    missing = [str(shard) for n in range(1, count + 1) if (shard := Shard(index=n, count=count)) not in shares]
    if missing:
        raise _rejected(f"share {missing[0]} is missing", Path("--merge"), f"give all {count}")
    ordered = sorted(shares, key=lambda shard: shard.index)
    statistics = reduce(Statistics.merge, (parts[shares[shard]].statistics for shard in ordered))
    return Calibration(first.origin.model_copy(update={"shard": None}), statistics)


def difference(first: Origin, second: Origin) -> str:
    """What two origins differ in, in words; "" where they agree."""
    for field, words in _ORIGIN.items():
        if getattr(first, field) != getattr(second, field):
            return words
    return data_difference(first.data, second.data)


def data_difference(first: DataOrigin, second: DataOrigin) -> str:
    """What two descriptions of samples differ in, in words; "" where they agree."""
    return next((words for field, words in _DATA.items() if getattr(first, field) != getattr(second, field)), "")


def _shard(part: Calibration, path: Path) -> Shard:
    if part.origin.shard is None:
        raise _rejected("it holds all samples, not a share of them", path, "use it as it is")
    return part.origin.shard


def _looked_at(part: Calibration, path: Path) -> tuple[int, set[str], set[LayerInput]]:
    """Into how many shares the samples were split, and what was observed on them."""
    return _shard(part, path).count, set(part.statistics), set(part.statistics.grams)


def _check_complete(part: Calibration, shard: Shard, path: Path) -> None:
    """Refuses a share that saw fewer samples than it should."""
    due = len(shard.positions(part.origin.data.feeds))
    if part.statistics.samples != due:
        raise _rejected(f"it saw {part.statistics.samples} of its {due} samples", path, "make it again")


def _rejected(what: str, path: Path, remedy: str) -> CalibrationRejectedError:
    return CalibrationRejectedError(what, where=str(path), remedy=remedy)
