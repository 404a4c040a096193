"""two reports -> what became better or worse beyond the noise, and what else changed between them.

Two figures a, b with intervals [l, u] differ by a - b with the interval a - b - sqrt((a - la)^2 + (ub - b)^2) ...
a - b + sqrt((ua - a)^2 + (b - lb)^2): each side keeps its own, possibly lopsided, uncertainty. Times and speed-ups are
compared as logarithms, and differ by the rule of FASTER and SLOWER. The same samples in both reports make the interval
of an accuracy too wide rather than too narrow. Sizes are exact; within one percent is the same.

Source: Zou and Donner, "Construction of confidence limits about effect measures", Statistics in Medicine 2008 (MOVER).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from deploycompress.measurement.compare import LAYOUT, MIN_EFFECT
from deploycompress.records.compared import Compared, Difference, Judgement
from deploycompress.records.measured import Accuracy, Interval
from deploycompress.records.report import Report, Row
from deploycompress.report import words

_SAME_SIZE = 0.01
_DECIDES_SPEED = ("cpu", "machine", "cpu_flags", "threads", "onnxruntime")


@dataclass(frozen=True)
class _Value:
    value: float
    interval: Interval
    shown: str


def compare(old: Report, new: Report) -> Compared:
    """The figures of the models that both reports have, by name and provider."""
    before = {(row.name, row.requested): row for row in old.rows}
    after = {(row.name, row.requested): row for row in new.rows}
    notes = _notes(old, new)
    slow = _speed_obstacle(old, new)
    differences = []
    several = len({row.requested for row in new.rows}) > 1
    for key, row in after.items():
        if key in before:
            name = f"{row.name} on {row.requested.removesuffix('ExecutionProvider')}" if several else row.name
            differences += list(_of_rows(name, before[key], row, slow))
    for missing, where in ((before.keys() - after.keys(), "new"), (after.keys() - before.keys(), "old")):
        notes += [f"{name} on {provider} is not in the {where} report" for name, provider in sorted(missing)]
    return Compared(tuple(differences), tuple(notes), _verdict(differences))


def difference(old: float, old_interval: Interval, new: float, new_interval: Interval) -> Interval:
    """Interval of `new - old`, the two being independent."""
    low = new - old - math.hypot(new - new_interval.low, old_interval.high - old)
    high = new - old + math.hypot(new_interval.high - new, old - old_interval.low)
    return Interval(low, high, new_interval.level)


def _of_rows(name: str, old: Row, new: Row, slow: str | None) -> Iterator[Difference]:
    if old.accuracy is not None and new.accuracy is not None:
        yield _accuracies(name, old.accuracy, new.accuracy)
    if old.latency is not None and new.latency is not None:
        medians = (_time(time.median_ms, time.median_interval) for time in (old.latency, new.latency))
        yield _ratios(name, "median", *medians, higher_is_better=False, obstacle=slow)
        tails = (_time(time.p95_ms, time.p95_interval) for time in (old.latency, new.latency))
        yield _ratios(name, "p95", *tails, higher_is_better=False, obstacle=slow)
    if old.comparison is not None and new.comparison is not None:
        speeds = (_Value(c.speedup, c.interval, words.ratio_interval(c)) for c in (old.comparison, new.comparison))
        yield _ratios(name, "speed-up", *speeds, higher_is_better=True, obstacle=slow)
    ratio = new.size_bytes / old.size_bytes if old.size_bytes else 1.0
    judgement: Judgement = "no difference" if abs(ratio - 1) <= _SAME_SIZE else "worse" if ratio > 1 else "better"
    change = f"{100 * (ratio - 1):+.1f} %"
    yield Difference(name, "size", words.size(old.size_bytes), words.size(new.size_bytes), change, judgement)


def _accuracies(name: str, old: Accuracy, new: Accuracy) -> Difference:
    if old.metric != new.metric:
        return Difference(name, "accuracy", old.metric, new.metric, "another metric", "not comparable")
    found = difference(old.value, old.interval, new.value, new.interval)
    judgement: Judgement = "no difference"
    if found.excludes(0.0):
        judgement = "better" if (new.value > old.value) == new.higher_is_better else "worse"
    change = f"{words.lost(new, new.value - old.value)} ({words.between(new, found)})"
    return Difference(name, new.metric, words.metric(old), words.metric(new), change, judgement)


def _time(value_ms: float, interval: Interval) -> _Value:
    return _Value(value_ms, interval, words.milliseconds_interval(value_ms, interval))


def _ratios(
    name: str, figure: str, old: _Value, new: _Value, *, higher_is_better: bool, obstacle: str | None
) -> Difference:
    logs = [Interval(math.log(v.interval.low), math.log(v.interval.high), v.interval.level) for v in (old, new)]
    found = difference(math.log(old.value), logs[0], math.log(new.value), logs[1])
    ratio, low, high = new.value / old.value, math.exp(found.low), math.exp(found.high)
    change = f"{ratio:.3f}x ({low:.3f} to {high:.3f})"
    if obstacle is not None:
        return Difference(name, figure, old.shown, new.shown, f"{change}, {obstacle}", "not comparable")
    judgement: Judgement = "no difference"
    if low > 1 + LAYOUT and ratio >= 1 + MIN_EFFECT:
        judgement = "better" if higher_is_better else "worse"
    elif high < 1 / (1 + LAYOUT) and ratio <= 1 / (1 + MIN_EFFECT):
        judgement = "worse" if higher_is_better else "better"
    return Difference(name, figure, old.shown, new.shown, change, judgement)


def _speed_obstacle(old: Report, new: Report) -> str | None:
    """Why times of the two reports cannot be compared, or None."""
    for name in _DECIDES_SPEED:
        if getattr(old.environment, name) != getattr(new.environment, name):
            return f"other {name}"
    for name in ("batch", "threads"):
        if getattr(old.settings, name) != getattr(new.settings, name):
            return f"other {name}"
    return None


def _notes(old: Report, new: Report) -> list[str]:
    notes = []
    hashes = {row.name: row.sha256 for row in old.rows}
    for row in {row.name: row for row in new.rows}.values():
        before = hashes.get(row.name, row.sha256)
        if before != row.sha256:
            notes.append(f"{row.name} is another file: sha256 {before[:12]} before, {row.sha256[:12]} now")
    for a, b in zip(old.data, new.data, strict=False):
        if a.fingerprint != b.fingerprint:
            notes.append(f"other {b.role} data: {a.samples} samples {a.fingerprint[:12]} before, ")
            notes[-1] += f"{b.samples} samples {b.fingerprint[:12]} now"
    for kind, was, now in (("environment", old.environment, new.environment), ("settings", old.settings, new.settings)):
        for name in vars(now):
            if name != "load_average" and getattr(was, name) != getattr(now, name):
                notes.append(f"{kind}: {name} was {getattr(was, name)}, is {getattr(now, name)}")
    return notes


def _verdict(differences: list[Difference]) -> str:
    if not differences:
        return "the reports have no model in common"
    said = [
        f"{judgement}: " + ", ".join(f"{d.model} {d.figure}" for d in differences if d.judgement == judgement)
        for judgement in ("worse", "better", "not comparable")
        if any(d.judgement == judgement for d in differences)
    ]
    same = sum(d.judgement == "no difference" for d in differences)
    return "; ".join([*said, f"no difference in {same} of {len(differences)} figures"])
