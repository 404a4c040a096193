"""rows and limits -> gates, and the result of a benchmark in words."""

from __future__ import annotations

from collections.abc import Sequence

from deploycompress.records.report import Gate, Row
from deploycompress.report import words
from deploycompress.targets import Target

_NOISY = "too noisy to tell a difference in speed"


def require_speedup(rows: Sequence[Row], least: float) -> Gate:
    """Met where every other model is `least` times as fast as the first and, above 1, FASTER beyond the noise."""
    said, met = [], True
    for row in _candidates(rows):
        if row.comparison is None:
            met, text = False, row.status if not row.measured else "not measured: the baseline was not"
        else:
            met = met and row.comparison.speedup >= least and (least <= 1 or row.comparison.verdict == "FASTER")
            text = f"{words.ratio_interval(row.comparison)} {words.verdict(row)}"
        said.append(f"{row.name}: {text}")
    return Gate(name=f"--require-speedup {least:g}", met=met, detail="; ".join(said))


def max_drop(rows: Sequence[Row], most: float) -> Gate:
    """Met where every model but the first loses at most `most` (0.01 for one point) of the baseline's accuracy."""
    said, met = [], True
    for row in _candidates(rows):
        lost = None if row.accuracy is None else row.accuracy.drop
        met = met and lost is not None and lost <= most
        text = words.drop(row.accuracy) if row.accuracy is not None else None
        said.append(f"{row.name}: {f'drop {text}' if text else 'accuracy not measured'}")
    return Gate(name=f"--max-drop {100 * most:g}%", met=met, detail="; ".join(said))


def over_budget(row: Row, target: Target) -> tuple[str, ...]:
    """Notes where a row exceeds what the target allows."""
    budget, notes = target.budget, []
    if budget.size_bytes is not None and row.size_bytes > budget.size_bytes:
        notes.append(f"over the size budget of {target.name}: {words.size(budget.size_bytes)}")
    if budget.p95_ms is not None and row.latency is not None and row.latency.p95_ms > budget.p95_ms:
        notes.append(f"over the p95 budget of {target.name}: {words.milliseconds(budget.p95_ms)}")
    if budget.memory_bytes is not None and (row.peak_memory_bytes or 0) > budget.memory_bytes:
        notes.append(f"over the memory budget of {target.name}: {words.size(budget.memory_bytes)}")
    return tuple(notes)


def elsewhere(target: Target, machine: str, cpu_flags: Sequence[str]) -> str | None:
    """A note where this machine is not what the target stands for, so that its latency is not the target's."""
    arm_here, arm_there = machine.lower() in ("aarch64", "arm64"), target.isa.startswith("Arm")
    flags = target.cpu_flags
    if arm_here == arm_there and (not flags or any(flag in cpu_flags for flag in flags)):
        return None
    return f"latency is that of this machine ({machine}), not of {target.name} ({target.isa})"


def summary(rows: Sequence[Row]) -> str:
    """One line per model: speed, size and accuracy against the first."""
    candidates = _candidates(rows)
    if not candidates:
        first = rows[0]
        speed = (
            words.milliseconds_interval(first.latency.median_ms, first.latency.median_interval) if first.latency else ""
        )
        return f"{first.name}: {f'median {speed}' if speed else first.status}, {words.size(first.size_bytes)}."
    return "\n".join(f"{_sentence(row)}." for row in candidates)


def _candidates(rows: Sequence[Row]) -> list[Row]:
    """Rows that are not the baseline model's."""
    return [row for row in rows if row.sha256 != rows[0].sha256 or row.name != rows[0].name]


def _sentence(row: Row) -> str:
    parts = []
    if row.comparison is not None:
        word = {"FASTER": "faster", "SLOWER": "the speed (SLOWER)"}.get(row.comparison.verdict, "")
        speed = words.ratio_interval(row.comparison)
        nothing = "no detectable difference in speed" if row.comparison.verdict == "NO DIFFERENCE" else _NOISY
        parts.append(f"{speed} {word}" if word else f"{nothing}, {speed}")
    elif not row.measured:
        parts.append(f"latency {row.status}")
    if row.smaller is not None:
        parts.append(words.smaller(row.smaller))
    lost = words.drop(row.accuracy) if row.accuracy is not None else None
    if row.accuracy is not None and lost:
        parts.append(f"{row.accuracy.metric} drop {lost}")
    elif row.fidelity is not None and row.fidelity.agreement is not None:
        parts.append(f"{100 * row.fidelity.agreement:.1f} % same arg-max, no labels")
    provider = f" on {row.requested.removesuffix('ExecutionProvider')}" if "CPU" not in row.requested else ""
    return f"{row.name}{provider}: {', '.join(parts)}"
