"""Report -> a table for a terminal or a log file, values above their 95 % intervals."""

from __future__ import annotations

from io import StringIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from deploycompress.records.measured import Accuracy, Comparison, Interval
from deploycompress.records.report import Report, Row, SweepRow
from deploycompress.report import words

_WIDE = 114
_STYLES = {"FASTER": "bold green", "SLOWER": "bold red", "TOO NOISY": "yellow", words.NOT_MEASURED: "yellow"}
_LEAST_WIDTH = 60


def render(report: Report, *, width: int = 100, color: bool = False) -> str:
    """The table, then gates, notes and the verdict.

    Args:
        report: What to show.
        width: Columns to fill; below 114 the drop and p95 stand under accuracy and median.
        color: Whether to emit ANSI colours.
    """
    buffer = StringIO()
    console = Console(
        file=buffer, width=max(width, _LEAST_WIDTH), force_terminal=color, no_color=not color, highlight=False
    )
    console.print(_table(report, wide=width >= _WIDE))
    if report.sweep:
        console.print()
        console.print(_sweep(report))
    for gate in report.gates:
        state = Text("met" if gate.met else "NOT MET", style="green" if gate.met else "bold red")
        console.print(Text.assemble("gate ", gate.name, " ", state, f": {gate.detail}"))
    for note in [f"{_label(row, report)}: {note}" for row in report.rows for note in _notes(row)] + list(report.notes):
        console.print(Text(f"note: {note}"))
    for row in report.rows:
        for line in words.classes(row):
            console.print(Text(f"{_label(row, report)}: {line}"))
    skipped = sum(len(source.skipped) for source in report.data)
    if skipped:
        console.print(Text(f"note: data files left out: {skipped}; the JSON lists them with their reasons"))
    console.print(Text(report.verdict, style="bold"))
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def _table(report: Report, *, wide: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    metric = next((row.accuracy.metric for row in report.rows if row.accuracy), "accuracy")
    heads = ["model", metric, "drop", "size", "median", "p95", "speed", "ran on"]
    if not wide:
        heads = ["model", f"{metric}, drop", "size", "median, p95", "speed", "ran on"]
    for index, head in enumerate(heads):
        table.add_column(head, overflow="fold", min_width=6, no_wrap=index not in (0, len(heads) - 1))
    for row in report.rows:
        accuracy, drop, median, p95 = _accuracy(row.accuracy), _drop(row.accuracy), _median(row), _p95(row)
        middle = [accuracy, drop, _size(row), median, p95]
        if not wide:
            middle = [_stack(accuracy, drop), _size(row), _stack(median, p95)]
        table.add_row(Text(row.name, style="bold"), *middle, _speed(row), _ran_on(row), end_section=False)
        if row is not report.rows[-1] and not wide:
            table.add_row()
    return table


def _sweep(report: Report) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for head in ("setting", "model", "median", "p95", "speed", "throughput"):
        table.add_column(head, overflow="fold", min_width=6)
    for row in report.sweep:
        absent = Text("-", style="dim")
        median = p95 = absent
        if row.latency is not None:
            median = _time(row.latency.median_ms, row.latency.median_interval)
            p95 = _time(row.latency.p95_ms, row.latency.p95_interval)
        rates = [Text.assemble(words.rate(each), _against(each.comparison)) for each in row.throughput]
        table.add_row(
            words.setting(row),
            Text(row.name, style="bold"),
            median,
            p95,
            _verdict(row),
            Text("\n").join(rates) or absent,
        )
    return table


def _verdict(row: SweepRow) -> Text:
    said = words.against(row.comparison, row.status)
    return Text.assemble((said, _STYLES.get(said, "")), _against(row.comparison))


def _against(comparison: Comparison | None) -> Text:
    return Text() if comparison is None else Text(f" {words.ratio_interval(comparison)}", style="dim")


def _label(row: Row, report: Report) -> str:
    providers = {other.requested for other in report.rows}
    return row.name if len(providers) == 1 else f"{row.name} on {row.requested.removesuffix('ExecutionProvider')}"


def _notes(row: Row) -> tuple[str, ...]:
    return row.notes if row.measured else (row.status, *row.notes)


def _range(interval: Interval, scale: float = 1) -> str:
    return f"{words.three_digits(scale * interval.low)} to {words.three_digits(scale * interval.high)}"


def _accuracy(accuracy: Accuracy | None) -> Text:
    if accuracy is None:
        return Text("-", style="dim")
    return Text.assemble(
        f"{words.figure(accuracy, accuracy.value)}\n", (words.between(accuracy, accuracy.interval), "dim")
    )


def _drop(accuracy: Accuracy | None) -> Text:
    if accuracy is None or accuracy.drop is None or accuracy.drop_interval is None:
        return Text()
    return Text.assemble(
        f"{words.lost(accuracy, accuracy.drop)}\n", (words.between(accuracy, accuracy.drop_interval), "dim")
    )


def _size(row: Row) -> Text:
    smaller = f"\n{words.smaller(row.smaller)}" if row.smaller is not None else ""
    return Text.assemble(words.size(row.size_bytes), (smaller, "dim"))


def _median(row: Row) -> Text:
    if row.latency is None:
        return Text("-", style="dim")
    return _time(row.latency.median_ms, row.latency.median_interval)


def _p95(row: Row) -> Text:
    return Text() if row.latency is None else _time(row.latency.p95_ms, row.latency.p95_interval)


def _time(value_ms: float, interval: Interval) -> Text:
    scale = 1 if value_ms >= words.MICROSECONDS_BELOW_MS else 1000
    return Text.assemble(f"{words.milliseconds(value_ms)}\n", (_range(interval, scale), "dim"))


def _speed(row: Row) -> Text:
    verdict = words.verdict(row)
    shown = Text(verdict, style=_STYLES.get(verdict, ""))
    if row.comparison is not None:
        shown.append(f" {words.ratio(row.comparison.speedup)}", style="bold")
        shown.append(f"\n{_range(row.comparison.interval)}", style="dim")
    return shown


def _ran_on(row: Row) -> Text:
    if row.placement is None or not row.measured:
        return Text("-", style="dim")
    return Text.assemble(words.provider(row), (f"\n{words.threads(row.placement.threads)}", "dim"))


def _stack(first: Text, second: Text) -> Text:
    return Text.assemble(first, "\n", second) if second.plain else first
