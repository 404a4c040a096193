"""Two reports side by side: what is beyond the noise, what is not, and what cannot be told."""

from __future__ import annotations

import math

import numpy as np
import pytest

from deploycompress.flow.compare import compare, difference
from deploycompress.records.environment import Environment
from deploycompress.records.measured import Accuracy, Interval, Latency
from deploycompress.records.report import DataSource, Report, Row, Settings

HERE = Environment("cpu", "x86_64", (), 2, (0, 1), None, 2, None, None, 0.1, "Linux", "3.11", "1.31", ("CPU",), "2.4")


def made(
    median_ms: float = 10.0, *, top1: float = 0.9, reach: float = 0.02, size_bytes: int = 1000, sha256: str = "aa"
) -> Report:
    ends = Interval(median_ms / (1 + reach), median_ms * (1 + reach))
    row = Row(
        name="m",
        path="m.onnx",
        sha256=sha256,
        size_bytes=size_bytes,
        status="measured",
        requested="CPUExecutionProvider",
        latency=Latency(median_ms, ends, median_ms, ends, 1.0, 1.0, 10, 10, 1),
        accuracy=Accuracy("top-1", top1, Interval(top1 - 0.01, top1 + 0.01), 1000),
    )
    data = DataSource(role="evaluation", source="d", fingerprint="f" * 64, samples=1000, valid_for_accuracy=True)
    return Report(
        package_version="0",
        created="2026-01-01T00:00:00+00:00",
        command="deploycompress bench m.onnx",
        environment=HERE,
        settings=Settings(batch=1, threads=1, rounds=10, seconds=1, launches=5),
        data=(data,),
        rows=(row,),
        verdict="m",
    )


def judged(old: Report, new: Report) -> dict[str, str]:
    return {found.figure: found.judgement for found in compare(old, new).differences}


def test_report_against_itself_is_no_different() -> None:
    found = compare(made(), made())
    assert set(judged(made(), made()).values()) == {"no difference"}
    assert found.notes == ()
    assert found.verdict == "no difference in 4 of 4 figures"
    assert found.worse == ()


@pytest.mark.parametrize(
    ("new", "figure", "judgement"),
    [
        (made(11.0), "median", "worse"),
        (made(9.0), "p95", "better"),
        (made(11.0, reach=0.2), "median", "no difference"),  # 10 % slower, but the interval is twice as wide
        (made(top1=0.87), "top-1", "worse"),
        (made(top1=0.93), "top-1", "better"),
        (made(top1=0.89), "top-1", "no difference"),
        (made(size_bytes=1100), "size", "worse"),
        (made(size_bytes=1005), "size", "no difference"),
    ],
)
def test_figure_is_judged_beyond_its_noise(new: Report, figure: str, judgement: str) -> None:
    assert judged(made(), new)[figure] == judgement


def test_difference_beyond_the_noise_but_below_three_percent_is_none() -> None:
    assert judged(made(reach=0.001), made(10.2, reach=0.001))["median"] == "no difference"
    assert judged(made(reach=0.001), made(10.4, reach=0.001))["median"] == "worse"


def test_change_of_a_loss_counts_the_other_way() -> None:
    def loss(value: float) -> Report:
        figure = Accuracy("nll", value, Interval(value - 0.01, value + 0.01), 9, unit="", higher_is_better=False)
        return made().model_copy(update={"rows": (made().rows[0].model_copy(update={"accuracy": figure}),)})

    assert judged(loss(1.0), loss(1.1))["nll"] == "worse"
    assert judged(loss(1.0), loss(0.9))["nll"] == "better"
    assert judged(made(), loss(0.9))["accuracy"] == "not comparable"


def test_other_machine_makes_times_incomparable_and_is_named() -> None:
    other = made(20.0).model_copy(update={"environment": Environment(**{**vars(HERE), "cpu": "another"})})
    found = compare(made(), other)
    assert judged(made(), other)["median"] == "not comparable"
    assert judged(made(), other)["size"] == "no difference"
    assert "environment: cpu was cpu, is another" in found.notes


def test_other_file_data_and_model_are_named() -> None:
    new = made(sha256="bb")
    new = new.model_copy(update={"data": (new.data[0].model_copy(update={"fingerprint": "e" * 64}),)})
    renamed = new.model_copy(update={"rows": (*new.rows, new.rows[0].model_copy(update={"name": "n"}))})
    notes = " | ".join(compare(made(), renamed).notes)
    assert "m is another file: sha256 aa before, bb now" in notes
    assert "other evaluation data: 1000 samples ffffffffffff before, 1000 samples eeeeeeeeeeee now" in notes
    assert "n on CPUExecutionProvider is not in the old report" in notes


def test_reports_without_a_common_model_say_so() -> None:
    other = made().model_copy(update={"rows": (made().rows[0].model_copy(update={"name": "z"}),)})
    assert compare(made(), other).verdict == "the reports have no model in common"


def test_interval_of_a_difference_covers_it_at_its_level() -> None:
    # Two normal means with known errors: 2000 differences, Binomial(2000, 0.95), mean 1900, sd 9.7; four sd either way.
    rng = np.random.default_rng(0)
    covered = 0
    for a, b in rng.normal(size=(2000, 2)) * (1.0, 2.0):
        found = difference(a, Interval(a - 1.96, a + 1.96), b, Interval(b - 3.92, b + 3.92))
        assert found.high - found.low == pytest.approx(2 * 1.96 * math.sqrt(5))
        covered += found.low <= 0 <= found.high
    assert 1861 <= covered <= 1939
