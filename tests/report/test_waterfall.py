from __future__ import annotations

import pytest

from deploycompress.records.report import Report
from deploycompress.report.waterfall import waterfall


def test_every_bar_begins_where_the_one_before_ended(report: Report) -> None:
    panels = waterfall(report.rows[:3])
    assert [panel.title for panel in panels] == ["Size, logarithmic", "Latency, logarithmic", "top-1"]
    for panel in panels:
        base, student, int8 = panel.bars
        assert (base.left, base.tone, base.change) == (0.0, "base", "")
        for before, after in ((base, student), (student, int8)):
            ends = {round(before.left, 6), round(before.left + before.width, 6)}
            assert ends & {round(after.left, 6), round(after.left + after.width, 6)}
            assert 0 <= after.left <= after.left + after.width <= 100 + 1e-9


def test_changes_are_those_from_the_model_before(report: Report) -> None:
    size, latency, top1 = waterfall(report.rows[:3])
    assert [bar.change for bar in size.bars] == ["", "5.15x smaller", "3.38x smaller"]  # 241,000 / 71,300
    assert [bar.change for bar in latency.bars] == ["", "3.18x faster", "1.92x faster"]  # 6.12 / 3.18
    assert [bar.value for bar in latency.bars] == ["1.31 ms", "0.412 ms", "0.214 ms"]
    assert [bar.change for bar in top1.bars] == ["", "-0.5 points", "-0.3 points"]
    assert [bar.tone for bar in size.bars] == ["base", "better", "better"]


def test_a_figure_that_got_worse_is_told_so(report: Report) -> None:
    teacher, student, int8 = report.rows[:3]
    size, latency, _ = waterfall((teacher, int8, student))
    assert size.bars[2].tone == latency.bars[2].tone == "worse"
    assert size.bars[2].change == "3.38x larger"
    assert latency.bars[2].change == "1.92x slower"


def test_chains_of_one_model_and_rows_of_another_provider_are_left_out(report: Report) -> None:
    assert waterfall(report.rows[:1]) == ()
    assert waterfall((report.rows[0], report.rows[4])) == ()  # the second one was asked for on a GPU


def test_figures_that_one_model_lacks_have_no_panel(report: Report) -> None:
    rows = (report.rows[0], report.rows[1].model_copy(update={"accuracy": None, "latency": None}))
    assert [panel.title for panel in waterfall(rows)] == ["Size, logarithmic"]


def test_equal_sizes_are_neither_better_nor_worse(report: Report) -> None:
    (size, *_) = waterfall((report.rows[0], report.rows[3]))
    assert size.bars[1].tone == "same"
    assert size.bars[1].change == "same size"
    assert size.bars[1].width == pytest.approx(0.0)
