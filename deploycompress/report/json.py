"""Report <-> JSON text of the published schema (docs/report.schema.json)."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from deploycompress.errors import InputRejectedError
from deploycompress.records.report import Report


def render(report: Report) -> str:
    """The whole report as JSON."""
    return report.model_dump_json(indent=2) + "\n"


def read(path: Path) -> Report:
    """A report that `render` wrote.

    Raises:
        InputRejectedError: The file cannot be read, is no report, or is of another schema version.
    """
    try:
        return Report.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputRejectedError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except (ValidationError, UnicodeDecodeError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else None
        key = ".".join(str(part) for part in first["loc"]) if first else ""
        cause = f"{key}: {first['msg']}" if first else "it is not UTF-8 text"
        raise InputRejectedError(f"not a report of this version: {cause}", where=str(path)) from error
