from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from deploycompress.records.measured import Fidelity
from deploycompress.records.report import Report, Row, schema

PUBLISHED = Path(__file__).resolve().parents[2] / "docs" / "report.schema.json"


def test_published_schema_is_in_step() -> None:
    # To renew it: python -c "import json; from deploycompress.records.report import schema;
    # print(json.dumps(schema(), indent=2))" > docs/report.schema.json
    assert json.loads(PUBLISHED.read_text(encoding="utf-8")) == schema()


def test_schema_allows_what_is_written_for_infinity() -> None:
    written = schema()["$defs"]["Fidelity"]["properties"]["sqnr_db"]
    assert {"type": "number"} in written["anyOf"]
    assert "Infinity" in written["anyOf"][1]["enum"]


def test_records_are_frozen() -> None:
    row = Row(name="a", path="a", sha256="", size_bytes=1, status="measured", requested="CPUExecutionProvider")
    with pytest.raises(ValidationError, match="frozen"):
        row.name = "b"  # type: ignore[misc]


def test_unknown_keys_are_refused_in_nested_records_too() -> None:
    fields = {"name": "a", "path": "a", "sha256": "", "size_bytes": 1, "status": "measured", "requested": "x"}
    fidelity = {"sqnr_db": 1.0, "max_abs": 0.0, "max_rel": 0.0, "agreement": None, "count": 1}
    assert Row.model_validate(fields | {"fidelity": fidelity}).fidelity == Fidelity(1.0, 0.0, 0.0, None, 1)
    with pytest.raises(ValidationError, match="surprise"):
        Row.model_validate(fields | {"fidelity": fidelity | {"surprise": 1}})


def test_report_without_rows_is_refused() -> None:
    with pytest.raises(ValidationError, match="rows"):
        Report.model_validate({"rows": []})
