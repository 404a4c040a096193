"""what a check of the sample data saw: what was found, where, why it matters, how to mend it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Severity = Literal["failure", "warning"]


@dataclass(frozen=True)
class Symptom:
    """One thing that is wrong with the samples.

    Attributes:
        check: Name of the check, e.g. "constant samples".
        severity: A "failure" makes whatever is measured on these samples worthless; with a "warning" it may still do.
        found: What was seen, with its numbers.
        where: Sample, input or tensor concerned.
        why: What it does to a quantized model.
        remedy: How to mend it.
    """

    check: str
    severity: Severity
    found: str
    where: str
    why: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.check}: {self.found} ({self.where}): {self.why}; {self.remedy}"


def failures(symptoms: Sequence[Symptom]) -> tuple[Symptom, ...]:
    """Those that are failures."""
    return tuple(symptom for symptom in symptoms if symptom.severity == "failure")


def listed(names: Sequence[str], shown: int = 3) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
