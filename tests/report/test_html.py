from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

from deploycompress.records.measured import ClassFigure, Flip
from deploycompress.records.report import Report
from deploycompress.report import html

VOID = {"meta", "br", "link", "img", "input", "hr", "line", "circle", "path"}


class Page(HTMLParser):
    """Checks that tags nest, and keeps tags, attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == [], f"left open: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("script", "style"):
            self.text += data + " "


def words_of(text: str) -> str:
    return " ".join(Page(text).text.split())


def test_page_is_well_formed_and_leads_with_the_verdict(report: Report) -> None:
    text = html.render(report)
    seen = words_of(text)
    assert seen.index("3.18x (3.02 to 3.31) faster") < seen.index("Accuracy against latency")
    assert len(text.encode()) < 2_000_000


def test_nothing_is_fetched_from_elsewhere(report: Report) -> None:
    text = html.render(report)
    assert "http" not in text
    assert "url(" not in text
    assert "@import" not in text
    assert "//" not in re.sub(r"</?[^>]*>", "", text).replace("digits//", "")
    fetching = {"src", "srcset", "data", "poster", "action", "xlink:href", "background"}
    links = [(tag, name, value) for tag, name, value in Page(text).attributes if name in fetching | {"href"}]
    assert {(tag, name) for tag, name, _ in links} == {("a", "href")}
    assert all(value.startswith("#") for _, _, value in links)


def test_every_section_that_is_named_at_the_top_is_there_and_once(swept: Report) -> None:
    attributes = Page(html.render(swept)).attributes
    ids = [value for _, name, value in attributes if name == "id"]
    anchors = [value[1:] for tag, name, value in attributes if (tag, name) == ("a", "href")]
    assert set(anchors) <= set(ids)
    assert len(ids) == len(set(ids))
    assert {"tradeoff", "results", "steps", "sweep", "size", "outputs", "conditions"} <= set(anchors)


def test_names_and_notes_cannot_become_markup(report: Report) -> None:
    evil = "</script><script>alert(1)</script>\"' onload=x <img src=y>"
    rows = tuple(
        row.model_copy(update={"name": evil, "path": evil, "notes": (evil,)}) if index < 2 else row
        for index, row in enumerate(report.rows)
    )
    data = (report.data[0].model_copy(update={"source": evil}),)
    text = html.render(
        report.model_copy(update={"rows": rows, "command": evil, "verdict": evil, "target": evil, "data": data})
    )
    page = Page(text)
    tags = {tag for tag, _, _ in page.attributes}
    assert "img" not in tags
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert text.count("<script>") == 1
    assert "alert(1)" in page.text


def test_figures_conditions_and_command_are_all_there(report: Report) -> None:
    seen = words_of(html.render(report))
    for part in (
        "98.6 % 96.7 to 99.4",
        "0.214 ms 0.208 to 0.218",
        "not met --max-drop 0.5%",
        "UNSTABLE",
        "not measured: the installed ONNX Runtime has no CUDAExecutionProvider",
        "avx512_vnni",
        "FoldBatchNormalization fewer nodes",
        "weight is a graph input",
        "digits/notes.txt not an array file",
        report.rows[0].sha256,
        report.command,
    ):
        assert part in seen, part


def test_table_can_be_used_from_the_keyboard(report: Report) -> None:
    text = html.render(report)
    head = text[text.index('<table class="sortable">') : text.index("</thead>")]
    assert head.count("<button") == head.count("<th ") == 10
    assert ("div", "tabindex", "0") in Page(text).attributes


def test_report_without_accuracy_steps_or_gates_renders(report: Report) -> None:
    rows = tuple(row.model_copy(update={"accuracy": None, "fidelity": None}) for row in report.rows[:2])
    seen = words_of(html.render(report.model_copy(update={"rows": rows, "steps": (), "gates": (), "command": ""})))
    assert "Accuracy against latency" not in seen
    assert "deploycompress bench out/teacher.onnx out/student.onnx" in seen


def test_flipped_samples_and_classes_are_listed(report: Report) -> None:
    assert report.rows[1].accuracy is not None
    accuracy = replace(report.rows[1].accuracy, classes=(ClassFigure(7, 36, 0.75, 0.125),))
    flips = (Flip("digits/<b>12.png", "right to wrong"), Flip("digits/40.png", "wrong to right"))
    row = report.rows[1].model_copy(update={"accuracy": accuracy, "flips": flips})
    seen = words_of(html.render(report.model_copy(update={"rows": (report.rows[0], row, *report.rows[2:])})))
    assert "2 flipped samples" in seen
    assert "digits/<b>12.png right to wrong" in seen
    assert "7 36 75.0 % 12.5" in seen


def test_equal_and_broken_outputs_are_told_in_words(report: Report) -> None:
    assert "equal" in words_of(html.render(report))
