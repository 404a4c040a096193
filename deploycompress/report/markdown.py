"""Report -> Markdown for a pull request or a documentation page."""

from __future__ import annotations

import re

from deploycompress.records.report import Report, Row
from deploycompress.report import words

_SPECIAL = re.compile(r"([\\`*_\[\]<>|~&])")


def render(report: Report) -> str:
    """Verdict, table, gates, notes, conditions and the command to do it again."""
    env, settings = report.environment, report.settings
    metric = next((row.accuracy.metric for row in report.rows if row.accuracy), "accuracy")
    heads = ["model", metric, "drop", "size", "median", "p95", "speed", "ran on"]
    lines = [
        *(f"**{escape(line)}**  " for line in report.verdict.splitlines()),
        "",
        _line(heads),
        _line(["---"] * len(heads)),
    ]
    lines += [_line(_cells(row)) for row in report.rows]
    lines += _sweep(report)
    lines += ["", "Intervals are at the 95 % level.", ""]
    lines += [f"- gate {_code(g.name)} {'met' if g.met else '**not met**'}: {escape(g.detail)}" for g in report.gates]
    lines += [f"- {escape(row.name)}: {escape(row.status)}" for row in report.rows if not row.measured]
    lines += [f"- {escape(row.name)}: {escape(note)}" for row in report.rows for note in row.notes]
    lines += [f"- {escape(note)}" for note in report.notes]
    lines += [f"- {escape(row.name)}: {escape(line)}" for row in report.rows for line in words.classes(row)]
    for step in report.steps:
        lines.append(f"- step {_code(step.name)} {'kept' if step.kept else 'reverted'}: {escape(step.reason)}")
    for source in report.data:
        lines.append(
            f"- {source.role} data: {_code(source.source)}, {source.samples} samples, {source.fingerprint[:12]}"
        )
    lines.append(
        f"- {escape(env.cpu)} ({env.machine}, {' '.join(env.cpu_flags)}), ONNX Runtime {env.onnxruntime}, "
        f"Python {env.python}, {escape(env.os)}; {settings.launches} processes a model, batch {settings.batch}"
    )
    if report.command:
        lines.append(f"- {_code(report.command)}")
    return "\n".join(lines) + "\n"


def _sweep(report: Report) -> list[str]:
    if not report.sweep:
        return []
    heads = ["setting", "model", "median", "p95", "speed", "throughput"]
    lines = ["", _line(heads), _line(["---"] * len(heads))]
    for row in report.sweep:
        latency, comparison = row.latency, row.comparison
        speed = words.against(comparison, row.status) + (f", {words.ratio_interval(comparison)}" if comparison else "")
        rates = [
            words.rate(each) + (f", {words.ratio_interval(each.comparison)}" if each.comparison else "")
            for each in row.throughput
        ]
        cells = [
            words.setting(row),
            escape(row.name),
            words.milliseconds_interval(latency.median_ms, latency.median_interval) if latency else words.NOT_MEASURED,
            words.milliseconds_interval(latency.p95_ms, latency.p95_interval) if latency else words.NOT_MEASURED,
            speed,
            "<br>".join(rates),
        ]
        lines.append(_line(cells))
    return lines


def escape(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _code(text: str) -> str:
    """Text in a code span, whatever backticks it holds."""
    text = " ".join(text.split())
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    return f"{fence} {text} {fence}" if fence != "`" else f"`{text}`"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(row: Row) -> list[str]:
    latency, accuracy = row.latency, row.accuracy
    size = words.size(row.size_bytes) + (f", {words.smaller(row.smaller)}" if row.smaller is not None else "")
    speed = words.verdict(row) + (f", {words.ratio_interval(row.comparison)}" if row.comparison else "")
    threads = f", {words.threads(row.placement.threads)}" if row.measured and row.placement else ""
    return [
        escape(row.name),
        words.metric(accuracy) if accuracy else "",
        (words.drop(accuracy) or "") if accuracy else "",
        size,
        words.milliseconds_interval(latency.median_ms, latency.median_interval) if latency else words.NOT_MEASURED,
        words.milliseconds_interval(latency.p95_ms, latency.p95_interval) if latency else words.NOT_MEASURED,
        speed,
        words.provider(row) + threads,
    ]
