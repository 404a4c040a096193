"""`accuracy_drop > 0.5pt or p95_ms > 20` -> a condition; rows -> whether a model meets it, which fails the gate.

    condition := term { "or" term };  term := factor { "and" factor };  factor := "(" condition ")" | comparison
    comparison := figure ( > | >= | < | <= ) number [unit]

Figures are those of `FIGURES`, of every model but the first, or of the only one. A figure that was not measured, or not
in the unit of its number, fails the gate, wherever it stands.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from deploycompress.errors import UnknownNameError, UsageError
from deploycompress.records.report import Gate, Row

UNITS: dict[str, dict[str, float]] = {
    "metric": {"pt": 0.01, "%": 0.01, "dB": 1.0},
    "share": {"pt": 0.01, "%": 0.01},
    "ms": {"ms": 1.0, "us": 1e-3, "s": 1e3},
    "bytes": {"B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9},
    "times": {"x": 1.0},
    "dB": {"dB": 1.0},
    "count": {},
}


@dataclass(frozen=True)
class Figure:
    """A number of a row: where it stands (dots lead into records), and the kind of its unit."""

    path: str
    kind: str

    def of(self, row: Row) -> float | None:
        """The number; None where it was not measured."""
        found: object = row
        for name in self.path.split("."):
            found = getattr(found, name) if found is not None else None
        return float(found) if isinstance(found, int | float) else None


FIGURES = {
    "accuracy": Figure("accuracy.value", "metric"),
    "accuracy_drop": Figure("accuracy.drop", "metric"),
    "accuracy_drop_low": Figure("accuracy.drop_interval.low", "metric"),
    "accuracy_drop_high": Figure("accuracy.drop_interval.high", "metric"),
    "top5_drop": Figure("top5.drop", "share"),
    "lost": Figure("accuracy.lost", "count"),
    "gained": Figure("accuracy.gained", "count"),
    "agreement": Figure("fidelity.agreement", "share"),
    "sqnr_db": Figure("fidelity.sqnr_db", "dB"),
    "cosine": Figure("fidelity.cosine", "count"),
    "max_abs": Figure("fidelity.max_abs", "count"),
    "median_ms": Figure("latency.median_ms", "ms"),
    "median_ms_high": Figure("latency.median_interval.high", "ms"),
    "p90_ms": Figure("latency.p90_ms", "ms"),
    "p95_ms": Figure("latency.p95_ms", "ms"),
    "p95_ms_high": Figure("latency.p95_interval.high", "ms"),
    "p99_ms": Figure("latency.p99_ms", "ms"),
    "load_ms": Figure("latency.load_ms", "ms"),
    "first_run_ms": Figure("latency.first_run_ms", "ms"),
    "speedup": Figure("comparison.speedup", "times"),
    "speedup_low": Figure("comparison.interval.low", "times"),
    "smaller": Figure("smaller", "times"),
    "size_bytes": Figure("size_bytes", "bytes"),
    "download_bytes": Figure("download_bytes", "bytes"),
    "peak_memory_bytes": Figure("peak_memory_bytes", "bytes"),
    "model_memory_bytes": Figure("model_memory_bytes", "bytes"),
}
"""What a condition may name; `_low` and `_high` are the ends of the 95 % interval."""

_DIGITS = 12  # a drop from 0.9 to 0.89 is one of 0.01, and in floating point a hair more
_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
_TOKEN = re.compile(r"\s*(>=|<=|>|<|\(|\)|[A-Za-z_][A-Za-z_0-9]*|[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|%|\S)")


@dataclass(frozen=True)
class Comparison:
    """One figure against one number, in the base unit of the figure."""

    figure: str
    sign: str
    number: float
    unit: str

    def comparisons(self) -> Iterator[Comparison]:
        """Itself."""
        yield self

    def holds(self, row: Row) -> bool:
        """Whether the row meets it; False where the figure is absent."""
        found = FIGURES[self.figure].of(row)
        return found is not None and _OPERATORS[self.sign](round(found, _DIGITS), round(self.number, _DIGITS))

    def can_be_judged(self, row: Row) -> bool:
        """Whether the figure was measured, and in the unit of the number: points are points of a share."""
        return FIGURES[self.figure].of(row) is not None and not self._is_of_another_unit(row)

    def _is_of_another_unit(self, row: Row) -> bool:
        if FIGURES[self.figure].kind != "metric" or not self.unit or row.accuracy is None:
            return False
        return row.accuracy.unit != ("dB" if self.unit == "dB" else "%")

    def said(self, row: Row) -> str:
        """As in "p95_ms is 21.3ms"."""
        found = FIGURES[self.figure].of(row)
        if found is None:
            return f"{self.figure} was not measured"
        if self._is_of_another_unit(row):
            return f"{self.figure} is {found:.4g}, and {self.unit!r} is no unit of this metric"
        return f"{self.figure} is {found / UNITS[FIGURES[self.figure].kind].get(self.unit, 1.0):.4g}{self.unit}"


@dataclass(frozen=True)
class Combined:
    """Conditions of which any, or all, must hold."""

    parts: tuple[Condition, ...]
    every: bool

    def comparisons(self) -> Iterator[Comparison]:
        """All below it."""
        for part in self.parts:
            yield from part.comparisons()

    def holds(self, row: Row) -> bool:
        """Whether the row meets it."""
        return (all if self.every else any)(part.holds(row) for part in self.parts)


Condition = Comparison | Combined


def parse(text: str) -> Condition:
    """The condition that `text` states.

    Raises:
        UnknownNameError: A figure has another name; the nearest are given.
        UsageError: It is no condition, or a unit does not belong to its figure.
    """
    return _Parser(text).whole()


def gate(rows: Sequence[Row], text: str) -> Gate:
    """Failed where a model meets the condition, or lacks a figure of it.

    Args:
        rows: The first is the baseline, which is judged only where it is alone.
        text: The condition.
    """
    condition = parse(text)
    failed, said = False, []
    for row in rows[1:] or rows:
        below = tuple(condition.comparisons())
        failed = failed or condition.holds(row) or not all(part.can_be_judged(row) for part in below)
        said.append(f"{row.name}: {', '.join(dict.fromkeys(part.said(row) for part in below))}")
    return Gate(name=f"--fail-if {text!r}", met=not failed, detail="; ".join(said))


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _TOKEN.findall(text)

    def whole(self) -> Condition:
        found = self._combined("or")
        if self._tokens:
            raise self._wrong(f"{self._tokens[0]!r} was not expected")
        return found

    def _combined(self, word: str) -> Condition:
        below = self._factor if word == "and" else lambda: self._combined("and")
        parts = [below()]
        while self._tokens and self._tokens[0] == word:
            self._tokens.pop(0)
            parts.append(below())
        return parts[0] if len(parts) == 1 else Combined(tuple(parts), every=word == "and")

    def _factor(self) -> Condition:
        if self._next("a figure") != "(":
            return self._comparison()
        self._take("(")
        found = self._combined("or")
        if self._next("')'") != ")":
            raise self._wrong("')' is missing")
        self._take(")")
        return found

    def _comparison(self) -> Comparison:
        name = self._take("a figure")
        if not name.isidentifier():
            raise self._wrong(f"a figure should stand where {name!r} does")
        if name not in FIGURES:
            raise UnknownNameError("figure", name, FIGURES, where=f"--fail-if {self._text!r}")
        sign = self._take("> or <")
        if sign not in _OPERATORS:
            raise self._wrong(f"{name} is followed by {sign!r} instead of >, >=, < or <=")
        number = self._take("a number")
        try:
            value = float(number)
        except ValueError:
            raise self._wrong(f"{number!r} is no number") from None
        units = UNITS[FIGURES[name].kind]
        unit = ""
        if self._tokens and self._tokens[0] not in ("and", "or", ")"):
            unit = self._take("a unit")
            if unit not in units:
                known = f"takes {', '.join(units)} or no unit" if units else "takes no unit"
                raise self._wrong(f"{name} {known}, not {unit!r}")
        return Comparison(name, sign, value * units.get(unit, 1.0), unit)

    def _next(self, wanted: str) -> str:
        if not self._tokens:
            raise self._wrong(f"{wanted} is missing at the end")
        return str(self._tokens[0])

    def _take(self, wanted: str) -> str:
        found = self._next(wanted)
        self._tokens.pop(0)
        return found

    def _wrong(self, what: str) -> UsageError:
        remedy = "write for example accuracy_drop > 0.5pt or p95_ms > 20"
        return UsageError(what, where=f"--fail-if {self._text!r}", remedy=remedy)
