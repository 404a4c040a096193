from __future__ import annotations

from deploycompress.records.report import Report
from deploycompress.report import markdown


def test_table_has_one_line_a_model_and_equal_columns(report: Report) -> None:
    lines = [line for line in markdown.render(report).splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(report.rows)
    assert {line.count("|") for line in lines} == {9}
    assert "| 0.214 ms (0.208 to 0.218) |" in lines[4]
    assert "FASTER, 6.12x (5.70 to 6.40)" in lines[4]


def test_names_cannot_break_the_table_or_inject_html(report: Report) -> None:
    name = "a|b <img src=x> `c` *d*\n# e"
    rows = (report.rows[0].model_copy(update={"name": name}), *report.rows[1:])
    text = markdown.render(report.model_copy(update={"rows": rows}))
    assert r"| a\|b \<img src=x\> \`c\` \*d\* # e |" in text


def test_command_with_backticks_stays_one_code_span(report: Report) -> None:
    text = markdown.render(report.model_copy(update={"command": "deploycompress bench 'a`b``c.onnx'"}))
    assert "``` deploycompress bench 'a`b``c.onnx' ```" in text


def test_verdict_leads_and_conditions_follow(report: Report) -> None:
    text = markdown.render(report)
    assert text.startswith("**student: 3.18x (3.02 to 3.31) faster")
    for part in ("**not met**", "UNSTABLE", "ONNX Runtime 1.31.1", "evaluation data: `digits/`, 360 samples", "kept"):
        assert part in text


def test_sweep_has_a_table_of_its_own(swept: Report) -> None:
    lines = markdown.render(swept).splitlines()
    table = lines[lines.index("| setting | model | median | p95 | speed | throughput |") :]
    assert {line.count("|") for line in table[:6]} == {7}
    assert table[2].startswith("| batch 1, 2 threads | teacher | 1.50 ms (1.46 to 1.53) |")
    assert table[5].startswith("| batch 8, length 128, 2 threads | student |")
    assert "FASTER, 3.00x (2.90 to 3.10)" in table[5]
    assert "4 at once: 2,560 samples/s (1,240 to 1,310), 3.00x (2.90 to 3.10)" in table[5]
