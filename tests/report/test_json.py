from __future__ import annotations

import json as stdlib_json
import math
from pathlib import Path

import pytest

from deploycompress.errors import InputRejectedError
from deploycompress.records.report import Report
from deploycompress.report import json


def test_report_round_trips_infinity_included(report: Report, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(json.render(report), encoding="utf-8")
    back = json.read(path)
    assert back == report
    assert back.rows[3].fidelity is not None
    assert back.rows[3].fidelity.sqnr_db == math.inf


def test_text_is_strict_json(report: Report) -> None:
    def refuse(constant: str) -> float:
        raise AssertionError(f"{constant} is not JSON")

    document = stdlib_json.loads(json.render(report), parse_constant=refuse)
    assert document["schema_version"] == 1
    assert document["rows"][3]["fidelity"]["sqnr_db"] == "Infinity"
    assert document["rows"][0]["latency"]["median_interval"] == pytest.approx(
        {"low": 0.97 * 1.31, "high": 1.02 * 1.31, "level": 0.95}
    )
    assert document["rows"][4]["latency"] is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 2}, r"r.json: not a report of this version: schema_version: "),
        ({"surprise": 1}, r"surprise: Extra inputs are not permitted"),
        ({"rows": []}, r"rows: Tuple should have at least 1 item"),
    ],
)
def test_other_documents_are_refused_by_key(report: Report, tmp_path: Path, change: dict, message: str) -> None:
    document = stdlib_json.loads(json.render(report)) | change
    path = tmp_path / "r.json"
    path.write_text(stdlib_json.dumps(document))
    with pytest.raises(InputRejectedError, match=message):
        json.read(path)


def test_files_that_are_no_json_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputRejectedError, match=r"r.json: not a report of this version: it is not UTF-8"):
        json.read(path)
    with pytest.raises(InputRejectedError, match=r"gone.json: cannot be read: No such file"):
        json.read(tmp_path / "gone.json")
