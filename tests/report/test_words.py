from __future__ import annotations

import pytest

from deploycompress.records.measured import Comparison, Interval
from deploycompress.records.report import Report
from deploycompress.report import words


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (71_300, "71.3 kB"), (1_240_000, "1.24 MB"), (2.5e9, "2.50 GB")],
)
def test_sizes_have_three_digits(size_bytes: int, text: str) -> None:
    assert words.size(size_bytes) == text


def test_absent_size_is_not_zero() -> None:
    assert words.size(None) == "not measured"


@pytest.mark.parametrize(
    ("value_ms", "text"),
    [(12.345, "12.3 ms"), (1.234, "1.23 ms"), (0.4123, "0.412 ms"), (0.0421, "42.1 µs"), (234.5, "234 ms")],
)
def test_times_have_three_digits(value_ms: float, text: str) -> None:
    assert words.milliseconds(value_ms) == text


def test_interval_has_the_unit_of_its_value() -> None:
    assert words.milliseconds_interval(0.05, Interval(0.04, 0.11)) == "50.0 µs (40.0 to 110)"


@pytest.mark.parametrize(("value", "text"), [(12.34, "12.3x smaller"), (0.5, "2.00x larger"), (1.001, "same size")])
def test_size_ratio_is_told_in_the_direction_it_goes(value: float, text: str) -> None:
    assert words.smaller(value) == text


def test_drop_of_minus_nothing_is_zero() -> None:
    assert words.points(-0.0001) == "0.0"


def test_verdict_names_what_was_shown(report: Report) -> None:
    teacher, student, _, copy, absent = report.rows
    assert [words.verdict(row) for row in (teacher, student, copy, absent)] == [
        "baseline",
        "FASTER",
        "SAME",
        "not measured",
    ]
    smaller = student.model_copy(update={"comparison": Comparison(1.01, Interval(0.9, 1.1), "NO DIFFERENCE")})
    assert words.verdict(smaller) == "SMALLER ONLY"


def test_provider_is_the_effective_one(report: Report) -> None:
    assert words.provider(report.rows[0]) == "CPU"
    assert words.provider(report.rows[4]) == "not measured"
