"""rows with accuracy and latency -> the coordinates of a scatter plot, which the HTML template draws as SVG.

Latency runs to the right (logarithmic where it spans more than a factor of five), accuracy upwards; each model is a dot
with its two 95 % intervals as a cross.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from deploycompress.records.report import Row
from deploycompress.report import words

WIDTH, HEIGHT = 600, 340
LEFT, RIGHT, TOP, BOTTOM = 62, 24, 16, 52
_LOG_FROM = 5.0
_LABEL_HEIGHT = 17.0


@dataclass(frozen=True)
class Tick:
    """A place on an axis and what stands there."""

    at: float
    label: str


@dataclass(frozen=True)
class Point:
    """One model, in SVG units.

    Attributes:
        name: Its label.
        x: Median latency.
        y: Accuracy.
        x_low: Lower end of the latency interval.
        x_high: Upper end of it.
        y_low: Lower end of the accuracy interval (further down, so the larger number).
        y_high: Upper end of it.
        label_x: Where the label starts, or ends where `anchor` is "end".
        label_y: Its baseline.
        anchor: SVG text anchor.
        is_baseline: Whether it is the first model.
        title: The figures in words.
    """

    name: str
    x: float
    y: float
    x_low: float
    x_high: float
    y_low: float
    y_high: float
    label_x: float
    label_y: float
    anchor: str
    is_baseline: bool
    title: str


@dataclass(frozen=True)
class Scatter:
    """The whole plot."""

    points: tuple[Point, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    x_title: str
    y_title: str
    higher_is_better: bool = True
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


@dataclass(frozen=True)
class _Axis:
    low: float
    high: float
    start: float
    end: float
    logarithmic: bool

    def at(self, value: float) -> float:
        if self.logarithmic:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + min(1.0, max(0.0, share)) * (self.end - self.start)


def scatter(rows: Sequence[Row]) -> Scatter | None:
    """The plot of all rows that have both figures, or None below two of them."""
    shown = [row for row in rows if row.latency is not None and row.accuracy is not None]
    times = [row.latency for row in shown if row.latency is not None]
    accuracies = [row.accuracy for row in shown if row.accuracy is not None]
    if len(shown) < 2:
        return None
    scale = 1.0 if max(t.median_ms for t in times) >= words.MICROSECONDS_BELOW_MS else 1000.0
    x_low = scale * min(t.median_interval.low for t in times)
    x_high = scale * max(t.median_interval.high for t in times)
    logarithmic = x_low > 0 and x_high / x_low > _LOG_FROM
    x_ticks = _log_ticks(x_low, x_high) if logarithmic else _linear_ticks(0.0, x_high)
    unit = accuracies[0].unit
    share = 100.0 if unit == "%" else 1.0
    y_low, y_high = share * min(a.interval.low for a in accuracies), share * max(a.interval.high for a in accuracies)
    y_high = min(100.0, max(y_high, y_low + 0.5)) if unit == "%" else y_high
    y_ticks = _linear_ticks(y_low, y_high)
    x_axis = _Axis(x_ticks[0], x_ticks[-1], LEFT, WIDTH - RIGHT, logarithmic)
    y_axis = _Axis(y_ticks[0], y_ticks[-1], HEIGHT - BOTTOM, TOP, logarithmic=False)
    points = []
    for row, time, accuracy in zip(shown, times, accuracies, strict=True):
        x = x_axis.at(scale * time.median_ms)
        right = x < LEFT + 0.6 * (WIDTH - RIGHT - LEFT)
        points.append(
            Point(
                name=row.name,
                x=x,
                y=y_axis.at(share * accuracy.value),
                x_low=x_axis.at(scale * time.median_interval.low),
                x_high=x_axis.at(scale * time.median_interval.high),
                y_low=y_axis.at(share * accuracy.interval.low),
                y_high=y_axis.at(share * accuracy.interval.high),
                label_x=x + 10 if right else x - 10,
                label_y=y_axis.at(share * accuracy.value) - 8,
                anchor="start" if right else "end",
                is_baseline=row.comparison is None,
                title=f"{row.name}: {words.metric(accuracy)}, "
                + words.milliseconds_interval(time.median_ms, time.median_interval),
            )
        )
    return Scatter(
        points=_spread(points),
        x_ticks=tuple(Tick(x_axis.at(value), f"{value:g}") for value in x_ticks),
        y_ticks=tuple(Tick(y_axis.at(value), f"{value:g}") for value in y_ticks),
        x_title=f"median latency, {'ms' if scale == 1 else 'µs'}{' (logarithmic)' if logarithmic else ''}",
        y_title=f"{accuracies[0].metric}, {unit}".rstrip(", "),
        higher_is_better=accuracies[0].higher_is_better,
    )


def _spread(points: Sequence[Point]) -> tuple[Point, ...]:
    """Moves labels apart where they would overlap, keeping the order of the points."""
    placed: dict[str, list[float]] = {}
    moved = {}
    for index in sorted(range(len(points)), key=lambda i: points[i].label_y):
        point = points[index]
        y = max([point.label_y, TOP + 12.0, *(used + _LABEL_HEIGHT for used in placed.get(point.anchor, []))])
        placed.setdefault(point.anchor, []).append(y)
        moved[index] = Point(**{**vars(point), "label_y": y})
    return tuple(moved[index] for index in range(len(points)))


def _linear_ticks(low: float, high: float) -> list[float]:
    """Round numbers from at or below `low` to at or above `high`."""
    span = max(high - low, 1e-9)
    step = 10.0 ** math.floor(math.log10(span / 4))
    step *= next(factor for factor in (1, 2, 2.5, 5, 10) if span / (factor * step) <= 5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(step * number, 10) for number in range(first, max(last, first + 1) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 2, 5 times powers of ten, from at or below `low` to at or above `high`."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    marks = [factor * 10.0**decade for decade in decades for factor in (1, 2, 5)]
    first = max(index for index, mark in enumerate(marks) if mark <= low * (1 + 1e-9))
    last = min(index for index, mark in enumerate(marks) if mark >= high * (1 - 1e-9))
    return [float(f"{mark:.3g}") for mark in marks[first : last + 1]]
