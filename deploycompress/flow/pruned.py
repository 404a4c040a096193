"""What `prune` found and did: the records that the command prints and writes as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deploycompress.data import Skipped
from deploycompress.flow.amount import SLOWEST, Trial
from deploycompress.pruning import Group
from deploycompress.pruning.mending import LayerRepair
from deploycompress.records.measured import Accuracy, Comparison, Fidelity

_SURE_AGREEMENT = 0.99


@dataclass(frozen=True)
class GroupRow:
    """One group of units that go together.

    Attributes:
        name: The first weight it runs through.
        units: How many units there are.
        width: Indices of that weight that one unit takes.
        removed: How many of them went.
        members: `weight:axis` of all it runs through.
        is_averaged: Whether a normalization averages over it, and so over what is left.
        refusals: Why nothing of it may go; empty where something may.
    """

    name: str
    units: int
    width: int
    removed: int
    members: tuple[str, ...]
    is_averaged: bool
    refusals: tuple[str, ...]

    @classmethod
    def of(cls, group: Group, removed: int = 0, refusals: tuple[str, ...] = ()) -> GroupRow:
        """The row of a group."""
        members = tuple(f"{member.weight.name}:{member.axis}" for member in group.members)
        reasons = (*refusals, *group.refusals)
        return cls(group.name, group.units, group.width, removed, members, group.is_averaged, reasons)


@dataclass(frozen=True)
class GroupList:
    """What may be pruned, and what not.

    Attributes:
        source: The model as given.
        rewrites: Exact rewrites applied first; names are those after them.
        groups: What may be pruned.
        refused: What may not, each with its reasons.
    """

    source: Path
    rewrites: tuple[str, ...]
    groups: tuple[GroupRow, ...]
    refused: tuple[GroupRow, ...]


@dataclass(frozen=True)
class Reached:
    """What became of the limit on accuracy: as it was asked for, whether the file meets it, what it reaches."""

    limit: str
    met: bool
    said: str


@dataclass(frozen=True)
class PruneResult:
    """What `prune` did and what it cost.

    Attributes:
        source: The model as given.
        output: The model written.
        target: Name of the target.
        score: What decided which units went.
        allocation: What decided how many of each group.
        ratio: The share that was to go; None where another amount was asked for.
        speedup: The speed-up that was asked for; None where another amount was.
        round_to: Channels were kept in multiples of this; None for what the allocation chose.
        rewrites: Exact rewrites applied first.
        groups: Every group with what went of it, then those that were refused.
        trials: The amounts that were tried, where a speed-up or a limit decided.
        repairs: What became of every layer behind a cut; empty where nothing was repaired.
        parameters_before: Elements of the weights after the exact rewrites, before anything was cut.
        parameters_after: Of the output.
        macs_before: Multiply-accumulates of one run on the timed input, likewise.
        macs_after: Of the output.
        bytes_before: Size of the source, external data included.
        bytes_after: Size of the output.
        samples: Samples that decided and repaired.
        data: Where they came from.
        skipped: Unusable files, with reasons.
        exact_on: Feeds on which the cut model gave what the masked one does, before any repair.
        fidelity: Outputs against the source.
        compared_on: What the two were run on.
        comparison: Latency against the source; None where it was not measured.
        accuracy: The metric on evaluation samples, with its paired drop; None where none were given.
        goal: What became of the limit on accuracy; None where there was none.
        notes: What the figures do not say by themselves.
    """

    source: Path
    output: Path
    target: str
    score: str
    allocation: str
    ratio: float | None
    speedup: float | None
    round_to: int | None
    rewrites: tuple[str, ...]
    groups: tuple[GroupRow, ...]
    trials: tuple[Trial, ...]
    repairs: tuple[LayerRepair, ...]
    parameters_before: int
    parameters_after: int
    macs_before: int
    macs_after: int
    bytes_before: int
    bytes_after: int
    samples: int
    data: str
    skipped: tuple[Skipped, ...]
    exact_on: int
    fidelity: Fidelity
    compared_on: Literal["held-out samples", "samples", "random inputs"]
    comparison: Comparison | None
    accuracy: Accuracy | None
    goal: Reached | None
    notes: tuple[str, ...]

    @property
    def missed_speed(self) -> float | None:
        """The speed measured, where the whole interval lies below what was asked for; else None."""
        wanted, found = self.speedup, self.comparison
        if wanted is None or found is None or found.interval.high >= wanted * SLOWEST:
            return None
        return found.speedup

    @property
    def is_close(self) -> bool:
        """Whether the accuracy is kept within its interval, or nearly all decisions are the same."""
        if self.accuracy is not None and self.accuracy.drop_interval is not None:
            return self.accuracy.drop_interval.low <= 0
        agreement = self.fidelity.agreement
        return self.compared_on != "random inputs" and agreement is not None and agreement >= _SURE_AGREEMENT
