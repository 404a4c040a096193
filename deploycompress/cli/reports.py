"""A report -> the files that options ask for, and the terminal."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from deploycompress.cli import console
from deploycompress.errors import EnvironmentLacksError

if TYPE_CHECKING:
    from deploycompress.records.report import Report


def write(
    report: Report,
    *,
    json_path: Path | None = None,
    markdown: Path | None = None,
    html: Path | None = None,
    junit: Path | None = None,
) -> None:
    """Writes the files; shows the table, or the JSON where that is to go to standard output."""
    from deploycompress.records.files import write_text
    from deploycompress.report import html as html_report
    from deploycompress.report import json as json_report
    from deploycompress.report import junit as junit_report
    from deploycompress.report import markdown as markdown_report
    from deploycompress.report import terminal

    forms = ((json_path, json_report), (markdown, markdown_report), (html, html_report), (junit, junit_report))
    for path, form in forms:
        if path is not None and str(path) != "-":
            write_text(path, form.render(report))
            console.stderr(f"  wrote {path}")
    if json_path is not None and str(json_path) == "-":
        console.stdout(json_report.render(report).rstrip())
    else:
        console.stdout(terminal.render(report, width=_columns(), color=_wants_color()).rstrip())


def check_writable(path: Path | None) -> None:
    """Finds out before the measurement, not after it.

    Raises:
        EnvironmentLacksError: It cannot be written.
    """
    if path is None or str(path) == "-":
        return
    if path.is_dir():
        raise EnvironmentLacksError("it is a folder, not a file to write", where=str(path))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentLacksError(f"its folder cannot be made: {error.strerror}", where=str(path)) from error


def _columns() -> int:
    """Width of standard output; a pipe or file gets 120 columns."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 120


def _wants_color() -> bool:
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ
