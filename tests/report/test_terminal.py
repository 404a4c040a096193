from __future__ import annotations

import pytest

from deploycompress.records.report import Report
from deploycompress.report import terminal


@pytest.mark.parametrize("width", [80, 100, 114, 120])
def test_everything_fits_the_width_and_nothing_is_cut(report: Report, width: int) -> None:
    text = terminal.render(report, width=width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    flat = " ".join(text.split())
    for figure in ("98.6 %", "96.7 to 99.4", "0.8 points", "-0.3 to 2.0", "0.214 ms", "0.208 to 0.218", "FASTER 6.12x"):
        assert figure in flat
    for figure in ("5.70 to 6.40", "17.4x smaller", "1 thread", "0.278 ms", "0.257 to 0.321"):
        assert figure in flat


def test_absent_provider_is_told_and_has_no_latency(report: Report) -> None:
    lines = terminal.render(report, width=120).splitlines()
    row = next(line for line in lines if line.startswith("gpu"))
    assert "ms" not in row
    assert "not measured" in row
    assert any(line.startswith("note: gpu on CUDA: not measured: the installed ONNX Runtime") for line in lines)


def test_gates_notes_and_verdict_come_after_the_table(report: Report) -> None:
    text = terminal.render(report, width=120)
    assert "gate --max-drop 0.5% NOT MET" in text
    assert "student-int8 on CPU: UNSTABLE" in text
    assert text.rstrip().endswith("drop 0.8 points (-0.3 to 2.0).")


def test_plain_text_has_no_escape_codes_and_colour_has(report: Report) -> None:
    assert "\x1b" not in terminal.render(report, width=100)
    assert "\x1b[" in terminal.render(report, width=100, color=True)


def test_names_are_text_not_markup(report: Report) -> None:
    rows = (report.rows[0].model_copy(update={"name": "[bold]x[/nope]"}), *report.rows[1:])
    assert "[bold]x[/nope]" in terminal.render(report.model_copy(update={"rows": rows}), width=120)


@pytest.mark.parametrize("width", [80, 120])
def test_sweep_is_shown_below_the_rows(swept: Report, width: int) -> None:
    text = terminal.render(swept, width=width)
    assert max(map(len, text.splitlines())) <= width
    flat = " ".join(text.split())
    assert text.index("setting") > text.index("ran on")
    for word in ("length 128", "1.50 ms", "FASTER 3.00x" if width == 120 else "FASTER"):
        assert word in flat
