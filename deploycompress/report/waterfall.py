"""rows in order -> what each model has over the one before it: size, latency and the metric, a floating bar each.

A chain (teacher, student, int8 student) is given to `bench` in the order it was made, so consecutive rows are its
steps. A bar reaches from the figure before to the figure after; the axis is logarithmic where it spans more than a
factor of five. Every figure was measured in the same run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from deploycompress.records.report import Row
from deploycompress.report import words
from deploycompress.report.axis import LOG_FROM, Axis

_SAME = 0.005


@dataclass(frozen=True)
class Bar:
    """One step.

    Attributes:
        name: Of the model after it.
        left: Where the bar starts, in percent of the width.
        width: How far it reaches, in percent.
        tone: Whether the figure became better or worse; "base" for the first model.
        value: The figure after the step, in words.
        change: What the step did to it, in words.
    """

    name: str
    left: float
    width: float
    tone: Literal["base", "better", "worse", "same"]
    value: str
    change: str


@dataclass(frozen=True)
class Panel:
    """One figure along the chain."""

    title: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class _Stage:
    name: str
    value: float
    said: str
    change: str


def waterfall(rows: Sequence[Row]) -> tuple[Panel, ...]:
    """Panels of size, median latency and the metric; nothing for fewer than two models on the first provider."""
    chain = [row for row in rows if row.requested == rows[0].requested and row.measured]
    if len(chain) < 2:
        return ()
    before = [None, *chain[:-1]]
    sizes = [
        _Stage(
            row.name,
            row.size_bytes,
            words.size(row.size_bytes),
            words.smaller(old.size_bytes / row.size_bytes) if old else "",
        )
        for row, old in zip(chain, before, strict=True)
    ]
    panels = [_panel("Size", sizes)]
    if all(row.latency is not None for row in chain) and all(row.comparison is not None for row in chain[1:]):
        panels.append(_panel("Latency", [_time(row, old) for row, old in zip(chain, before, strict=True)]))
    metrics = {row.accuracy.metric for row in chain if row.accuracy is not None}
    if len(metrics) == 1 and all(row.accuracy is not None for row in chain):
        panels.append(_accuracies(chain))
    return tuple(panels)


def _time(row: Row, old: Row | None) -> _Stage:
    """By the paired speed-ups, which the bar and the change show; the median stands beside them."""
    assert row.latency is not None
    speedup = row.comparison.speedup if row.comparison else 1.0
    change = ""
    if old is not None:
        ratio = speedup / (old.comparison.speedup if old.comparison else 1.0)
        change = f"{words.ratio(ratio)} faster" if ratio >= 1 else f"{words.ratio(1 / ratio)} slower"
    return _Stage(row.name, 1 / speedup, words.milliseconds(row.latency.median_ms), change)


def _accuracies(chain: Sequence[Row]) -> Panel:
    stages, ends = [], []
    old: float | None = None
    for row in chain:
        assert row.accuracy is not None
        accuracy = row.accuracy
        change = "" if old is None else f"{words.lost(accuracy, accuracy.value - old)}"
        change = f"+{change}" if old is not None and accuracy.value > old and not change.startswith("0.0 ") else change
        stages.append(_Stage(row.name, accuracy.value, words.figure(accuracy, accuracy.value), change))
        ends += [accuracy.interval.low, accuracy.interval.high]
        old = accuracy.value
    first = chain[0].accuracy
    assert first is not None
    axis = Axis(min(ends), max(ends) if max(ends) > min(ends) else min(ends) + 1, 0.0, 100.0, logarithmic=False)
    return Panel(first.metric, _bars(stages, axis, higher_is_better=first.higher_is_better))


def _panel(title: str, stages: Sequence[_Stage]) -> Panel:
    low, high = min(stage.value for stage in stages), max(stage.value for stage in stages)
    logarithmic = low > 0 and high / low > LOG_FROM
    axis = Axis(low / 2 if logarithmic else 0.0, high or 1.0, 0.0, 100.0, logarithmic)
    return Panel(f"{title}, logarithmic" if logarithmic else title, _bars(stages, axis, higher_is_better=False))


def _bars(stages: Sequence[_Stage], axis: Axis, *, higher_is_better: bool) -> tuple[Bar, ...]:
    bars = []
    for number, stage in enumerate(stages):
        old = stages[number - 1].value if number else None
        begin, end = 0.0 if old is None else axis.at(old), axis.at(stage.value)
        tone: Literal["base", "better", "worse", "same"] = "base"
        if old is not None:
            alike = abs(stage.value - old) <= _SAME * abs(old)
            tone = "same" if alike else "better" if (stage.value > old) == higher_is_better else "worse"
        bars.append(Bar(stage.name, min(begin, end), abs(end - begin), tone, stage.said, stage.change))
    return tuple(bars)
