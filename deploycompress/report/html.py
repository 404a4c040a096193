"""Report -> one self-contained HTML file that opens offline: no script, style, font or image from elsewhere.

Everything that comes from a user (names, paths, notes) is escaped by the template engine.
"""

from __future__ import annotations

import math
import shlex

from jinja2 import Environment, PackageLoader, StrictUndefined

from deploycompress.records.report import Report, Row
from deploycompress.report import words
from deploycompress.report.scatter import scatter


def render(report: Report) -> str:
    """The page."""
    engine = Environment(
        loader=PackageLoader("deploycompress.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    engine.globals |= {"words": words, "infinity": math.inf}
    engine.filters["provider_name"] = lambda name: name.removesuffix("ExecutionProvider")
    page = engine.get_template("report.html.j2")
    return page.render(
        report=report,
        rows=report.rows,
        candidates=[row for row in report.rows if row.comparison is not None or (row.smaller is not None)],
        plot=scatter(report.rows),
        largest_bytes=max(row.size_bytes for row in report.rows) or 1,
        slowest_ms=max((row.latency.median_interval.high for row in report.rows if row.latency), default=1.0),
        metric=next((row.accuracy.metric for row in report.rows if row.accuracy), None),
        several_providers=len({row.requested for row in report.rows}) > 1,
        notes=[(row, note) for row in report.rows for note in _notes(row)],
        title=", ".join(dict.fromkeys(row.name for row in report.rows)),
        again=_again(report),
    )


def _notes(row: Row) -> tuple[str, ...]:
    return row.notes if row.measured else (row.status, *row.notes)


def _again(report: Report) -> str:
    """The command to run again; the models alone where none was recorded."""
    paths = list(dict.fromkeys(row.path for row in report.rows))
    return report.command or shlex.join(["deploycompress", "bench", *paths])
