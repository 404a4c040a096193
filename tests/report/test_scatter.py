from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploycompress.records.measured import Accuracy, Interval
from deploycompress.records.report import Report
from deploycompress.report.axis import linear_ticks, log_ticks
from deploycompress.report.scatter import scatter


def with_figures(report: Report, pairs: list[tuple[float, float]]) -> list:
    base = report.rows[0]
    rows = []
    for time, share in pairs:
        assert base.latency is not None
        latency = type(base.latency)(
            **{
                **vars(base.latency),
                "median_ms": time,
                "median_interval": Interval(0.9 * time, 1.1 * time),
            }
        )
        accuracy = Accuracy("top-1", share, Interval(max(0, share - 0.02), min(1, share + 0.01)), 100)
        rows.append(base.model_copy(update={"latency": latency, "accuracy": accuracy}))
    return rows


@given(
    st.lists(
        st.tuples(st.floats(1e-3, 1e4, allow_nan=False), st.floats(0.0, 1.0, allow_nan=False)), min_size=2, max_size=6
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # the report is frozen
def test_every_point_and_interval_lies_inside_the_axes(report: Report, pairs: list[tuple[float, float]]) -> None:
    plot = scatter(with_figures(report, pairs))
    assert plot is not None
    for point in plot.points:
        assert plot.left <= point.x_low <= point.x <= point.x_high <= plot.right
        assert plot.top <= point.y_high <= point.y <= point.y_low <= plot.bottom


def test_positions_follow_the_logarithm(report: Report) -> None:
    plot = scatter(with_figures(report, [(1.0, 0.5), (10.0, 0.6), (100.0, 0.7)]))
    assert plot is not None
    first, second, third = (point.x for point in plot.points)
    assert second - first == pytest.approx(third - second)
    assert "logarithmic" in plot.x_title


def test_ticks_are_round_and_enclose_the_values(report: Report) -> None:
    plot = scatter(with_figures(report, [(1.31, 0.986), (0.412, 0.981)]))
    assert plot is not None
    labels = [float(tick.label) for tick in plot.x_ticks]
    assert labels[0] <= 0.412 * 0.9
    assert labels[-1] >= 1.31 * 1.1
    assert [tick.at for tick in plot.x_ticks] == sorted(tick.at for tick in plot.x_ticks)
    assert plot.x_ticks[-1].at == plot.right


def test_labels_cover_neither_labels_nor_points(report: Report) -> None:
    plot = scatter(with_figures(report, [(1.0, 0.9), (1.0, 0.9), (1.0, 0.901), (1.05, 0.899), (0.4, 0.85)]))
    assert plot is not None
    boxes = []
    for point in plot.points:
        width = 7.0 * len(point.name)  # bold letters of 13 pixels are about seven wide
        left = point.label_x - width if point.anchor == "end" else point.label_x
        boxes.append((left, left + width, point.label_y - 10, point.label_y + 3))
    boxes += [
        (point.x - 5, point.x + 5, point.y - 5, point.y + 5) for point in plot.points[1:]
    ]  # the first two are one
    for a, b in itertools.combinations(boxes[: len(plot.points)], 2):
        assert a[1] <= b[0] or b[1] <= a[0] or a[3] <= b[2] or b[3] <= a[2]
    for a, b in itertools.product(boxes[: len(plot.points)], boxes[len(plot.points) :]):
        assert a[1] <= b[0] or b[1] <= a[0] or a[3] <= b[2] or b[3] <= a[2]


def test_one_point_is_no_plot(report: Report) -> None:
    assert scatter(report.rows[:1]) is None


@given(st.floats(-50, 100), st.floats(1e-6, 1e3))
def test_linear_ticks_are_few_even_and_enclose(low: float, span: float) -> None:
    ticks = linear_ticks(low, low + span)
    # The ticks are rounded to ten decimals, which a span of 1e-6 sees as 1e-4 of itself.
    assert ticks[0] <= low + 1e-4 * span
    assert ticks[-1] >= low + span - 1e-4 * span
    assert 2 <= len(ticks) <= 8
    steps = [b - a for a, b in itertools.pairwise(ticks)]
    assert max(steps) - min(steps) <= 1e-3 * max(steps)


@given(st.floats(1e-3, 1e3), st.floats(5.0, 1e4))
def test_log_ticks_enclose(low: float, factor: float) -> None:
    ticks = log_ticks(low, low * factor)
    assert ticks[0] <= low * (1 + 1e-6)
    assert ticks[-1] >= low * factor * (1 - 1e-6)
    assert all(math.isclose(t, float(f"{t:.1g}")) for t in ticks)
