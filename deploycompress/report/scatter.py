"""rows with accuracy and latency -> the coordinates of a scatter plot, which the HTML template draws as SVG.

Latency runs to the right (logarithmic where it spans more than a factor of five), accuracy upwards; each model is a dot
with its two 95 % intervals as a cross. A stepped line joins the models that no other beats in both (the Pareto front).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from deploycompress.records.report import Row
from deploycompress.report import words
from deploycompress.report.axis import LOG_FROM, Axis, linear_ticks, log_ticks

WIDTH, HEIGHT = 600, 340
LEFT, RIGHT, TOP, BOTTOM = 62, 24, 16, 52
_LABEL_HEIGHT = 17.0
_LETTER_WIDTH = 8.0
_DOT = 6.0


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
        on_front: Whether no other model is both faster and more accurate.
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
    on_front: bool
    title: str


@dataclass(frozen=True)
class Scatter:
    """The whole plot; `front` is the path of the Pareto front."""

    points: tuple[Point, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    x_title: str
    y_title: str
    front: str = ""
    higher_is_better: bool = True
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


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
    logarithmic = x_low > 0 and x_high / x_low > LOG_FROM
    x_ticks = log_ticks(x_low, x_high) if logarithmic else linear_ticks(0.0, x_high)
    unit = accuracies[0].unit
    share = 100.0 if unit == "%" else 1.0
    y_low, y_high = share * min(a.interval.low for a in accuracies), share * max(a.interval.high for a in accuracies)
    y_high = min(100.0, max(y_high, y_low + 0.5)) if unit == "%" else y_high
    y_ticks = linear_ticks(y_low, y_high)
    x_axis = Axis(x_ticks[0], x_ticks[-1], LEFT, WIDTH - RIGHT, logarithmic)
    y_axis = Axis(y_ticks[0], y_ticks[-1], HEIGHT - BOTTOM, TOP, logarithmic=False)
    best = _front(shown)
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
                on_front=row.name in best,
                title=f"{row.name}: {words.metric(accuracy)}, "
                + words.milliseconds_interval(time.median_ms, time.median_interval),
            )
        )
    return Scatter(
        points=_spread(points),
        front=_steps([point for point in points if point.on_front]),
        x_ticks=tuple(Tick(x_axis.at(value), f"{value:g}") for value in x_ticks),
        y_ticks=tuple(Tick(y_axis.at(value), f"{value:g}") for value in y_ticks),
        x_title=f"median latency, {'ms' if scale == 1 else 'µs'}{' (logarithmic)' if logarithmic else ''}",
        y_title=f"{accuracies[0].metric}, {unit}".rstrip(", "),
        higher_is_better=accuracies[0].higher_is_better,
    )


def _front(rows: Sequence[Row]) -> set[str]:
    """Names of the rows that no other one beats in latency and accuracy at once."""
    figures = []
    for row in rows:
        assert row.latency is not None
        assert row.accuracy is not None
        sign = 1 if row.accuracy.higher_is_better else -1
        figures.append((row.name, row.latency.median_ms, -sign * row.accuracy.value))
    return {
        name
        for name, time, loss in figures
        if not any(t <= time and lo <= loss and (t, lo) != (time, loss) for _, t, lo in figures)
    }


def _steps(points: Sequence[Point]) -> str:
    """An SVG path through the points from left to right, level until the next one."""
    ordered = sorted(points, key=lambda point: point.x)
    if len(ordered) < 2:
        return ""
    path = f"M{ordered[0].x:.1f} {ordered[0].y:.1f}"
    return path + "".join(f"H{point.x:.1f}V{point.y:.1f}" for point in ordered[1:])


def _spread(points: Sequence[Point]) -> tuple[Point, ...]:
    """Puts each label beside its point, where it covers neither a point nor a label, if there is such a place."""
    dots = [_Box(point.x - _DOT, point.x + _DOT, point.y - _DOT, point.y + _DOT) for point in points]
    labels: list[_Box] = []
    placed = []
    for point in points:
        taken = (*dots, *labels)
        free = (moved for moved in _places(point) if not any(_box(moved).overlaps(other) for other in taken))
        placed.append(next(free, point))
        labels.append(_box(placed[-1]))
    return tuple(placed)


@dataclass(frozen=True)
class _Box:
    left: float
    right: float
    top: float
    bottom: float

    def overlaps(self, other: _Box) -> bool:
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom


def _places(point: Point) -> Iterator[Point]:
    """The label on either side of the point, above it or below, ever further away, as long as it is in the picture."""
    sides = ("start", "end") if point.anchor == "start" else ("end", "start")
    for distance in range(5):
        for up in (-8.0 - distance * _LABEL_HEIGHT, 18.0 + distance * _LABEL_HEIGHT):
            for anchor in sides:
                x = point.x + (10 if anchor == "start" else -10)
                moved = replace(point, label_x=x, label_y=point.y + up, anchor=anchor)
                box = _box(moved)
                if box.left >= LEFT and box.right <= WIDTH and box.top >= 0 and box.bottom <= HEIGHT - BOTTOM:
                    yield moved


def _box(point: Point) -> _Box:
    width = _LETTER_WIDTH * len(point.name)
    left = point.label_x - width if point.anchor == "end" else point.label_x
    return _Box(left, left + width, point.label_y - _LABEL_HEIGHT + 4, point.label_y + 4)
