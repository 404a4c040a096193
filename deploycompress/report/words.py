"""figures -> the words and units every rendering uses, so that two renderings never say the same thing differently."""

from __future__ import annotations

from deploycompress.records.measured import Accuracy, Comparison, Interval, Throughput
from deploycompress.records.report import MEASURED, Row, SweepRow

NOT_MEASURED = "not measured"
MICROSECONDS_BELOW_MS = 0.1
_WORST = 3
_FEWEST = 20  # samples of a class whose share is worth a word
_TONES = {"float32": "float", "float64": "float", "int8": "int8", "uint8": "int8", "int32": "conversion"}
_STEPS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def size(size_bytes: int | None) -> str:
    """Decimal units with three significant digits: "1.23 MB"."""
    if size_bytes is None:
        return NOT_MEASURED
    for unit, name in _STEPS:
        if size_bytes >= unit:
            return f"{three_digits(size_bytes / unit)} {name}"
    return f"{size_bytes} B"


def milliseconds(value_ms: float) -> str:
    """Three significant digits, in microseconds below 0.1 ms."""
    return (
        f"{three_digits(value_ms)} ms" if value_ms >= MICROSECONDS_BELOW_MS else f"{three_digits(1000 * value_ms)} µs"
    )


def milliseconds_interval(value_ms: float, interval: Interval) -> str:
    """As in "1.20 ms (1.18 to 1.23)", the interval in the unit of the value."""
    return f"{milliseconds(value_ms)} ({time_between(value_ms, interval)})"


def time_between(value_ms: float, interval: Interval) -> str:
    """The interval of a time in the unit of the time, without it: "1.18 to 1.23"."""
    scale = 1 if value_ms >= MICROSECONDS_BELOW_MS else 1000
    return f"{three_digits(scale * interval.low)} to {three_digits(scale * interval.high)}"


def metric(accuracy: Accuracy) -> str:
    """As in "81.0 % (79.9 to 82.1)" or "31.24 dB (31.10 to 31.38)"."""
    return f"{figure(accuracy, accuracy.value)} ({between(accuracy, accuracy.interval)})"


def figure(accuracy: Accuracy, value: float) -> str:
    """A value of the metric with its unit: "81.0 %", "31.24 dB", "0.8712"."""
    return f"{_digits(accuracy, value)} {accuracy.unit}".rstrip()


def between(accuracy: Accuracy, interval: Interval) -> str:
    """An interval of the metric or of its drop, without the unit: "79.9 to 82.1"."""
    return f"{_digits(accuracy, interval.low)} to {_digits(accuracy, interval.high)}"


def lost(accuracy: Accuracy, value: float) -> str:
    """A drop with its unit: "0.8 points" of a share, "0.31 dB", "0.0021"."""
    return f"{_digits(accuracy, value)} {'points' if accuracy.unit == '%' else accuracy.unit}".rstrip()


def drop(accuracy: Accuracy) -> str | None:
    """As in "0.8 points (-0.1 to 1.7, n = 500)": how much worse than the baseline; None for the baseline."""
    if accuracy.drop is None or accuracy.drop_interval is None:
        return None
    interval = between(accuracy, accuracy.drop_interval)
    return f"{lost(accuracy, accuracy.drop)} ({interval}, n = {accuracy.count:,})"


def classes(row: Row) -> tuple[str, ...]:
    """The classes that lost most, and how many samples flipped; nothing for a baseline or where nothing was lost.

    A class of a few samples says nothing by its share, so the smallest are not named.
    """
    accuracy = row.accuracy
    if accuracy is None or accuracy.lost is None:
        return ()
    worst = sorted(
        (c for c in accuracy.classes if (c.drop or 0) > 0 and c.count >= _FEWEST), key=lambda c: -(c.drop or 0)
    )[:_WORST]
    parts = [f"class {c.label} {points(c.drop or 0)} points (n = {c.count:,})" for c in worst]
    said = [f"{accuracy.lost} of {accuracy.count:,} samples right to wrong, {accuracy.gained} wrong to right"]
    if parts:
        said.append(f"lost most: {', '.join(parts)}")
    return tuple(said) if accuracy.lost or accuracy.gained else ()


def _digits(accuracy: Accuracy, value: float) -> str:
    if accuracy.unit == "%":
        return points(value)
    text = f"{value:.2f}" if accuracy.unit == "dB" else f"{value:#.4g}"
    return text.removeprefix("-") if float(text) == 0 else text


def shares(row: Row) -> tuple[tuple[str, int, str], ...]:
    """Bytes of a file by element type and of everything else: (name, bytes, tone); one part where nothing is known."""
    if row.contents is None:
        return (("file", row.size_bytes, "other"),)
    kinds = row.contents.bytes_by_dtype
    rest = max(0, row.size_bytes - sum(kinds.values()))
    return (*((name, count, _TONES.get(name, "error")) for name, count in kinds.items()), ("graph", rest, "other"))


def smaller(value: float) -> str:
    """As in "12.3x smaller", "1.10x larger" or, within half a percent, "same size"; against the baseline."""
    if abs(value - 1) < 0.005:
        return "same size"
    return f"{ratio(value)} smaller" if value >= 1 else f"{ratio(1 / value)} larger"


def ratio(value: float) -> str:
    """As in "3.41x", "12.3x", "110x"."""
    return f"{three_digits(value)}x"


def ratio_interval(comparison: Comparison) -> str:
    """As in "3.41x (3.30 to 3.52)"."""
    low, high = comparison.interval.low, comparison.interval.high
    return f"{ratio(comparison.speedup)} ({three_digits(low)} to {three_digits(high)})"


def verdict(row: Row) -> str:
    """FASTER, SLOWER, TOO NOISY, SAME or SMALLER ONLY against the baseline; "baseline" for the baseline itself."""
    said = against(row.comparison, row.status)
    return "SMALLER ONLY" if said == "SAME" and row.smaller is not None and row.smaller > 1.01 else said


def against(comparison: Comparison | None, status: str = MEASURED) -> str:
    """FASTER, SLOWER, TOO NOISY or SAME against the baseline; "baseline" for the baseline itself."""
    if status != MEASURED:
        return NOT_MEASURED
    if comparison is None:
        return "baseline"
    return "SAME" if comparison.verdict == "NO DIFFERENCE" else comparison.verdict


def setting(row: SweepRow) -> str:
    """As in "batch 8, length 128, 2 threads"."""
    length = "" if row.sequence is None else f", length {row.sequence}"
    return f"batch {row.batch}{length}, {threads(row.threads)}"


def rate(found: Throughput) -> str:
    """As in "4 at once: 1,280 samples/s (1,240 to 1,310)"."""
    low, high = found.interval.low, found.interval.high
    return f"{found.instances} at once: {_count(found.samples_per_s)} samples/s ({_count(low)} to {_count(high)})"


def _count(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else three_digits(value)


def provider(row: Row) -> str:
    """The provider that really ran the row, never the one asked for."""
    return row.placement.effective if row.measured and row.placement is not None else NOT_MEASURED


def points(share: float) -> str:
    """A share in points of percent: "0.8"; never "-0.0"."""
    text = f"{100 * share:.1f}"
    return "0.0" if text == "-0.0" else text


def three_digits(value: float) -> str:
    """At least three significant digits down to 0.1, at most three decimals."""
    size = abs(value)
    decimals = 0 if size >= 99.95 else 1 if size >= 9.995 else 2 if size >= 0.9995 else 3
    return f"{value:.{decimals}f}"


def threads(count: int) -> str:
    """As in "1 thread", "4 threads"."""
    return f"{count} thread{'' if count == 1 else 's'}"
