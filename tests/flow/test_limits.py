"""The little language of --fail-if."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycompress.errors import UnknownNameError, UsageError
from deploycompress.flow.limits import FIGURES, gate, parse
from deploycompress.records.measured import Accuracy, Comparison, Interval, Latency
from deploycompress.records.report import Row


def row(name: str, *, drop: float | None = None, p95_ms: float = 10.0) -> Row:
    ends = Interval(0.9 * p95_ms, 1.1 * p95_ms)
    accuracy = Accuracy("top-1", 0.9, Interval(0.8, 1.0), 100, drop, Interval(0.0, 0.1) if drop is not None else None)
    return Row(
        name=name,
        path=name,
        sha256="",
        size_bytes=2_000_000,
        status="measured",
        requested="CPUExecutionProvider",
        latency=Latency(0.5 * p95_ms, ends, p95_ms, ends, 1.0, 1.0, 10, 10, 1),
        comparison=None if drop is None else Comparison(2.0, Interval(1.9, 2.1), "FASTER"),
        accuracy=accuracy,
    )


BASE = row("base")


@pytest.mark.parametrize(
    ("text", "fails"),
    [
        ("accuracy_drop > 0.5pt", False),
        ("accuracy_drop > 0.3pt", True),
        ("accuracy_drop > 0.3%", True),
        ("accuracy_drop > 0.003", True),
        ("accuracy_drop > 0.5pt or p95_ms > 9", True),
        ("accuracy_drop > 0.3pt and p95_ms > 20", False),
        ("p95_ms > 9999us", True),
        ("p95_ms > 0.01s", False),
        ("p95_ms >= 0.01s", True),
        ("size_bytes > 2MB", False),
        ("size_bytes >= 2MB", True),
        ("speedup < 2.5x", True),
        ("median_ms<5", False),
        ("median_ms<=5", True),
        # "and" binds tighter than "or": true or (true and false); the brackets make it false.
        ("p95_ms > 9 or speedup > 1 and p95_ms > 20", True),
        ("(p95_ms > 9 or speedup > 1) and p95_ms > 20", False),
        ("accuracy_drop > -1e-3", True),
    ],
)
def test_condition_is_judged_in_its_units_and_order(text: str, fails: bool) -> None:
    found = gate([BASE, row("b", drop=0.004)], text)
    assert found.met is not fails
    assert found.name == f"--fail-if {text!r}"


def test_a_drop_of_one_point_is_not_more_than_one_point() -> None:
    assert 0.9 - 0.89 > 0.01  # in floating point
    assert gate([BASE, row("b", drop=0.9 - 0.89)], "accuracy_drop > 1pt").met
    assert gate([BASE, row("b", drop=7 / 1000)], "accuracy_drop > 0.7pt").met
    assert not gate([BASE, row("b", drop=0.7 - 0.693)], "accuracy_drop >= 0.7pt").met


@given(st.lists(st.sampled_from(["p95_ms > 9", "p95_ms > 20", "speedup > 1", "speedup > 3"]), min_size=1), st.data())
def test_any_chain_is_judged_as_python_judges_it(parts: list[str], data: st.DataObject) -> None:
    words = [data.draw(st.sampled_from(["and", "or"])) for _ in parts[1:]]
    text = " ".join(part for pair in zip(parts, [*words, ""], strict=True) for part in pair).strip()
    assert gate([BASE, row("b", drop=0.0)], text).met is not eval(text, {"p95_ms": 10.0, "speedup": 2.0})


def test_every_other_model_is_judged_and_the_baseline_only_where_it_is_alone() -> None:
    slow = row("slow", p95_ms=30.0)
    assert gate([slow, row("b", drop=0.0)], "p95_ms > 20").met
    assert not gate([BASE, row("b", drop=0.0), slow], "p95_ms > 20").met
    assert not gate([slow], "p95_ms > 20").met


def test_detail_tells_each_model_and_figure_once() -> None:
    found = gate([BASE, row("b", drop=0.004), row("c", drop=0.0)], "accuracy_drop > 0.5pt or p95_ms > 20 or p95_ms < 1")
    assert found.detail == ("b: accuracy_drop is 0.4pt, p95_ms is 10; c: accuracy_drop is 0pt, p95_ms is 10")


@pytest.mark.parametrize("text", ["accuracy_drop > 0.5pt", "p95_ms > 1 and sqnr_db < 1", "sqnr_db < 1 or p95_ms > 99"])
def test_figure_that_was_not_measured_fails_the_gate_and_is_named(text: str) -> None:
    found = gate([BASE, row("b")], text)
    assert not found.met
    assert "was not measured" in found.detail


@pytest.mark.parametrize(("unit", "fails"), [("pt", True), ("dB", True), ("", False)])
def test_points_of_a_metric_that_is_no_share_fail_the_gate(unit: str, fails: bool) -> None:
    found = row("b", drop=0.004)
    assert found.accuracy is not None
    loss = found.model_copy(update={"accuracy": replace(found.accuracy, unit="")})
    judged = gate([BASE, loss], f"accuracy_drop > 5{unit}")
    assert judged.met is not fails
    assert judged.detail == "b: accuracy_drop is 0.004" + (f", and '{unit}' is no unit of this metric" if fails else "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a figure is missing at the end"),
        ("p95_ms", "> or < is missing at the end"),
        ("p95_ms >", "a number is missing at the end"),
        ("p95_ms > fast", "'fast' is no number"),
        ("p95_ms = 3", "p95_ms is followed by '=' instead of >"),
        ("p95_ms > 3 MB", "p95_ms takes ms, us, s or no unit, not 'MB'"),
        ("lost > 3pt", "lost takes no unit, not 'pt'"),
        ("p95_ms > 3 or", "a figure is missing at the end"),
        ("(p95_ms > 3", "'\\)' is missing"),
        ("p95_ms > 3)", "'\\)' was not expected"),
        ("3 > p95_ms", "a figure should stand where '3' does"),
        ("p95_ms > 3 speedup < 1", "takes ms, us, s or no unit, not 'speedup'"),
        ("__import__('os') > 1", "unknown figure '__import__'"),
    ],
)
def test_what_is_no_condition_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        parse(text)
    assert "\n" not in str(caught.value)


def test_unknown_figure_lists_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="unknown figure 'p95'; did you mean p95_ms"):
        parse("p95 > 3")


def test_every_figure_leads_to_a_number_or_nothing() -> None:
    for name, figure in FIGURES.items():
        found = figure.of(row("b", drop=0.004))
        assert found is None or isinstance(found, float), name
