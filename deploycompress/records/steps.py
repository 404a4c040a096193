"""What one step of a command did to the model, why it refused elsewhere, and why it was kept or taken back."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from deploycompress.records.measured import Comparison

Level = Literal["tidy", "basic", "full"]
"""How far `optimize` goes; what each level holds is written in `passes/pipelines.py`."""


@dataclass(frozen=True)
class Change:
    """One rewrite: `where` names the tensor (its name in the model before the step), `what` says what happened."""

    where: str
    what: str


@dataclass(frozen=True)
class Refusal:
    """One place a step looked at and left alone, with the reason."""

    where: str
    reason: str

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}"


@dataclass(frozen=True)
class StepOutcome:
    """One step of a command, measured before and after.

    Attributes:
        name: Class of the pass, e.g. "FoldBatchNormalization".
        parameters: `repr` of the pass, enough to run it again.
        kept: Whether the model after the step is the one that goes on.
        reason: Why it was kept, reverted, or changed nothing; in words.
        nodes_before: Nodes in the graph and all its subgraphs.
        nodes_after: The same after the step (of the rewritten model, even where it was reverted).
        bytes_before: Size of the file, external data included.
        bytes_after: The same after the step.
        comparison: Latency against the model before the step, or None where it was not measured.
        changes: Rewrites made.
        refusals: Rewrites considered and left alone.
    """

    name: str
    parameters: str
    kept: bool
    reason: str
    nodes_before: int
    nodes_after: int
    bytes_before: int
    bytes_after: int
    comparison: Comparison | None
    changes: tuple[Change, ...]
    refusals: tuple[Refusal, ...]

    @property
    def refusal_counts(self) -> tuple[tuple[str, int], ...]:
        """(reason, how often), the most frequent first."""
        return tuple(Counter(refusal.reason for refusal in self.refusals).most_common())
