"""figures -> the words and units every rendering uses, so that two renderings never say the same thing differently."""

from __future__ import annotations

from deploycompress.records.measured import Accuracy, Comparison, Interval
from deploycompress.records.report import Row

NOT_MEASURED = "not measured"
MICROSECONDS_BELOW_MS = 0.1
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
    scale = 1 if value_ms >= MICROSECONDS_BELOW_MS else 1000
    return f"{milliseconds(value_ms)} ({three_digits(scale * interval.low)} to {three_digits(scale * interval.high)})"


def percent(accuracy: Accuracy) -> str:
    """As in "81.0 % (79.9 to 82.1)"."""
    low, high = accuracy.interval.low, accuracy.interval.high
    return f"{100 * accuracy.value:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def drop(accuracy: Accuracy) -> str | None:
    """As in "0.8 points (-0.1 to 1.7)": points of accuracy lost against the baseline; None for the baseline."""
    if accuracy.drop is None or accuracy.drop_interval is None:
        return None
    low, high = accuracy.drop_interval.low, accuracy.drop_interval.high
    return f"{points(accuracy.drop)} points ({points(low)} to {points(high)})"


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
    """FASTER, SLOWER, SAME or SMALLER ONLY against the baseline; "baseline" for the baseline itself."""
    if not row.measured:
        return NOT_MEASURED
    if row.comparison is None:
        return "baseline"
    if row.comparison.verdict != "NO DIFFERENCE":
        return row.comparison.verdict
    return "SMALLER ONLY" if row.smaller is not None and row.smaller > 1.01 else "SAME"


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
