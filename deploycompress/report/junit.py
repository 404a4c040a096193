"""Report -> JUnit XML for CI: one test case a row, skipped where it was not measured, and one a gate.

Source: the schema of the Jenkins xUnit plugin (junit-10.xsd), which GitLab and GitHub actions read as well.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

from deploycompress.records.report import Report, Row
from deploycompress.report import words

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(report: Report) -> str:
    """The document."""
    skipped = sum(not row.measured for row in report.rows)
    counts = {
        "tests": str(len(report.rows) + len(report.gates)),
        "failures": str(sum(not gate.met for gate in report.gates)),
        "errors": "0",
    }
    root = ElementTree.Element("testsuites", {"name": "deploycompress", **counts})
    suite = ElementTree.SubElement(
        root,
        "testsuite",
        {"name": "bench", **counts, "skipped": str(skipped), "timestamp": report.created.partition("+")[0]},
    )
    for row in report.rows:
        provider = row.requested.removesuffix("ExecutionProvider")
        case = _case(suite, "models", f"{row.name} on {provider}")
        if not row.measured:
            ElementTree.SubElement(case, "skipped", {"message": _text(row.status)})
        ElementTree.SubElement(case, "system-out").text = _text("\n".join(_figures(row)))
    for gate in report.gates:
        case = _case(suite, "gates", gate.name)
        if not gate.met:
            failure = ElementTree.SubElement(case, "failure", {"message": _text(gate.detail), "type": "gate"})
            failure.text = _text(report.command)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _case(suite: ElementTree.Element, group: str, name: str) -> ElementTree.Element:
    return ElementTree.SubElement(suite, "testcase", {"classname": f"deploycompress.{group}", "name": _text(name)})


def _figures(row: Row) -> list[str]:
    lines = [f"size {words.size(row.size_bytes)}"]
    if row.latency is not None:
        lines.append(f"median {words.milliseconds_interval(row.latency.median_ms, row.latency.median_interval)}")
        lines.append(f"p95 {words.milliseconds_interval(row.latency.p95_ms, row.latency.p95_interval)}")
    if row.comparison is not None:
        lines.append(f"{words.verdict(row)} {words.ratio_interval(row.comparison)}")
    if row.accuracy is not None:
        lines.append(f"{row.accuracy.metric} {words.metric(row.accuracy)}")
        lost = words.drop(row.accuracy)
        lines += [f"drop {lost}"] if lost else []
    return [*lines, *row.notes]


def _text(text: str) -> str:
    """Without the control characters that XML cannot hold."""
    return _NOT_XML.sub("?", text)
