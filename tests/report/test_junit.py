from __future__ import annotations

from xml.etree import ElementTree

from deploycompress.records.report import Report
from deploycompress.report import junit

# junit-10.xsd of the Jenkins xUnit plugin: what each element may hold, attributes first.
ALLOWED = {
    "testsuites": ({"name", "time", "tests", "failures", "disabled", "errors"}, ["testsuite"]),
    "testsuite": (
        {"name", "tests", "failures", "errors", "group", "time", "skipped", "timestamp", "hostname", "id", "package"},
        ["testcase"],
    ),
    "testcase": ({"name", "time", "classname", "group"}, ["skipped", "error", "failure", "system-out", "system-err"]),
    "failure": ({"type", "message"}, []),
    "skipped": ({"type", "message"}, []),
    "system-out": (set(), []),
}


def check(element: ElementTree.Element) -> None:
    attributes, children = ALLOWED[element.tag]
    assert set(element.attrib) <= attributes
    places = [children.index(child.tag) for child in element]
    assert places == sorted(places)
    for child in element:
        check(child)


def test_document_is_of_the_schema_and_counts_its_cases(report: Report) -> None:
    root = ElementTree.fromstring(junit.render(report))
    check(root)
    suite = root[0]
    assert suite.attrib["tests"] == str(len(suite)) == "7"
    assert suite.attrib["failures"] == str(len(suite.findall("testcase/failure"))) == "1"
    assert suite.attrib["skipped"] == str(len(suite.findall("testcase/skipped"))) == "1"
    assert suite.attrib["timestamp"] == "2026-11-21T12:00:00"


def test_failed_gate_says_what_was_measured(report: Report) -> None:
    root = ElementTree.fromstring(junit.render(report))
    failed = root.find(".//testcase[@name='--max-drop 0.5%']/failure")
    assert failed is not None
    assert failed.attrib["message"] == "student-int8: drop 0.8 points (-0.3 to 2.0)"
    case = root.find(".//testcase[@name='student on CPU']/system-out")
    assert case is not None
    assert "FASTER 3.18x (3.02 to 3.31)" in (case.text or "")


def test_names_from_elsewhere_cannot_break_the_document(report: Report) -> None:
    rows = (report.rows[0].model_copy(update={"name": 'a"<b>&\x00\x1b'}), *report.rows[1:])
    root = ElementTree.fromstring(junit.render(report.model_copy(update={"rows": rows})))
    assert root[0][0].attrib["name"] == 'a"<b>&?? on CPU'
