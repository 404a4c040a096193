"""Report -> one self-contained HTML file that opens offline: no script, style, font or image from elsewhere.

Everything that comes from a user (names, paths, notes) is escaped by the template engine.
"""

from __future__ import annotations

import math
import shlex

from jinja2 import Environment, PackageLoader, StrictUndefined

from deploycompress.records.report import Report, Row, TargetRow
from deploycompress.report import strips, words
from deploycompress.report.scatter import scatter
from deploycompress.report.waterfall import waterfall

_MOST_LAYERS = 300


def render(report: Report) -> str:
    """The page."""
    engine = Environment(
        loader=PackageLoader("deploycompress.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    engine.globals |= {"words": words, "strips": strips, "infinity": math.inf, "most_layers": _MOST_LAYERS}
    engine.filters["provider_name"] = lambda name: name.removesuffix("ExecutionProvider")
    page = engine.get_template("report.html.j2")
    plot, panels = scatter(report.rows), waterfall(report.rows)
    return page.render(
        report=report,
        rows=report.rows,
        candidates=[row for row in report.rows if row.comparison is not None or (row.smaller is not None)],
        plot=plot,
        panels=panels,
        devices=_devices(report),
        device_models=list(dict.fromkeys(row.model for row in report.targets)),
        sections=[
            (anchor, label)
            for anchor, label, there in (
                ("tradeoff", "Trade-off", plot),
                ("results", "Results", True),
                ("steps", "Steps", panels or report.steps),
                ("sweep", "Sweep", report.sweep),
                ("devices", "Devices", report.targets),
                ("layers", "Layers", any(row.layers for row in report.rows)),
                ("size", "Size", True),
                ("outputs", "Outputs", any(row.fidelity for row in report.rows)),
                ("conditions", "Conditions", True),
            )
            if there
        ],
        largest_bytes=max(row.size_bytes for row in report.rows) or 1,
        metric=next((row.accuracy.metric for row in report.rows if row.accuracy), None),
        several_providers=len({row.requested for row in report.rows}) > 1,
        notes=[(row, note) for row in report.rows for note in _notes(row)],
        title=", ".join(dict.fromkeys(row.name for row in report.rows)),
        again=_again(report),
    )


def _devices(report: Report) -> list[tuple[str, list[TargetRow]]]:
    """The rows of every target profile, in the order of the models."""
    names = dict.fromkeys(row.target for row in report.targets)
    return [(name, [row for row in report.targets if row.target == name]) for name in names]


def _notes(row: Row) -> tuple[str, ...]:
    return row.notes if row.measured else (row.status, *row.notes)


def _again(report: Report) -> str:
    """The command to run again; the models alone where none was recorded."""
    paths = list(dict.fromkeys(row.path for row in report.rows))
    return report.command or shlex.join(["deploycompress", "bench", *paths])
