from __future__ import annotations

from dataclasses import replace

import pytest

from deploycompress.records.measured import Accuracy, ClassFigure, Comparison, Interval, Unit
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


@pytest.mark.parametrize(
    ("unit", "value", "figure", "lost"),
    [("%", 0.0123, "1.2 %", "1.2 points"), ("dB", 31.239, "31.24 dB", "31.24 dB"), ("", 0.87123, "0.8712", "0.8712")],
)
def test_metric_has_its_unit(unit: Unit, value: float, figure: str, lost: str) -> None:
    accuracy = Accuracy("m", value, Interval(value, value), 1500, value, Interval(value, value), unit=unit)
    assert words.figure(accuracy, value) == figure
    assert words.lost(accuracy, value) == lost
    number = figure.split()[0]
    assert words.drop(accuracy) == f"{lost} ({number} to {number}, n = 1,500)"


def test_classes_that_lost_most_come_first_and_a_baseline_has_none(report: Report) -> None:
    classes = tuple(ClassFigure(label, 50, 0.5, drop) for label, drop in enumerate((0.01, -0.02, 0.06, 0.02, 0.03)))
    assert report.rows[1].accuracy is not None
    row = report.rows[1].model_copy(update={"accuracy": replace(report.rows[1].accuracy, classes=classes)})
    flipped, worst = words.classes(row)
    assert flipped == "3 of 360 samples right to wrong, 1 wrong to right"
    assert worst == ("lost most: class 2 6.0 points (n = 50), class 4 3.0 points (n = 50), class 3 2.0 points (n = 50)")
    assert words.classes(report.rows[0]) == ()


def test_a_class_of_a_few_samples_is_not_named(report: Report) -> None:
    classes = (ClassFigure(0, 1, 0.0, 1.0), ClassFigure(1, 19, 0.5, 0.4), ClassFigure(2, 20, 0.5, 0.1))
    assert report.rows[1].accuracy is not None
    row = report.rows[1].model_copy(update={"accuracy": replace(report.rows[1].accuracy, classes=classes)})
    assert words.classes(row)[1:] == ("lost most: class 2 10.0 points (n = 20)",)


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
