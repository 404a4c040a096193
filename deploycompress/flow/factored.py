"""What `factorize` found and did: the records that the command prints and writes as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deploycompress.data import Skipped
from deploycompress.records.measured import Accuracy, Comparison, Fidelity

_SURE_AGREEMENT = 0.99


@dataclass(frozen=True)
class FactorRow:
    """What became of one layer.

    Attributes:
        layer: Name of its output.
        method: How it was factorized; "" where it stays as it is.
        ranks: Widths between its factors.
        parameters_before: Elements of its weight.
        parameters_after: Of its factors.
        time_before_us: Microseconds of the layer alone; None where nothing was timed.
        time_after_us: Of its factors.
        error: Share of the energy of its output that is wrong on held-out samples, of its weight without samples.
        reason: Why it stays, or why it got this form.
    """

    layer: str
    method: str
    ranks: tuple[int, ...]
    parameters_before: int
    parameters_after: int
    time_before_us: float | None
    time_after_us: float | None
    error: float
    reason: str


@dataclass(frozen=True)
class FactorTrial:
    """One choice of forms that was judged on evaluation samples.

    Attributes:
        layers: How many layers were factorized.
        met: Whether the limit holds.
        said: What it reaches, in words.
    """

    layers: int
    met: bool
    said: str


@dataclass(frozen=True)
class FactorizeResult:
    """What `factorize` did and what it cost.

    Attributes:
        source: The model as given.
        output: The model written.
        target: Name of the target.
        asked: What decided, as it was typed.
        methods: The methods tried.
        rewrites: Exact rewrites applied first.
        layers: Every layer with weights.
        trials: Choices judged on the evaluation samples; empty where no limit on accuracy was given.
        repaired: Layers whose last factor was fitted once more behind all the others.
        parameters_before: Elements of the weights after the exact rewrites.
        parameters_after: Of the output.
        macs_before: Multiply-accumulates of one run on the timed input, likewise.
        macs_after: Of the output.
        bytes_before: Size of the source, external data included.
        bytes_after: Size of the output.
        samples: Samples that decided and repaired.
        data: Where they came from.
        skipped: Unusable files, with reasons.
        fidelity: Outputs against the source.
        compared_on: What the two were run on.
        comparison: Latency against the source; None where it was not measured.
        accuracy: The metric on evaluation samples, with its paired drop; None where none were given.
        notes: What the figures do not say by themselves.
    """

    source: Path
    output: Path
    target: str
    asked: str
    methods: tuple[str, ...]
    rewrites: tuple[str, ...]
    layers: tuple[FactorRow, ...]
    trials: tuple[FactorTrial, ...]
    repaired: tuple[str, ...]
    parameters_before: int
    parameters_after: int
    macs_before: int
    macs_after: int
    bytes_before: int
    bytes_after: int
    samples: int
    data: str
    skipped: tuple[Skipped, ...]
    fidelity: Fidelity
    compared_on: Literal["held-out samples", "samples", "random inputs"]
    comparison: Comparison | None
    accuracy: Accuracy | None
    notes: tuple[str, ...]

    @property
    def is_close(self) -> bool:
        """Whether the accuracy is kept within its interval, or nearly all decisions are the same."""
        if self.accuracy is not None and self.accuracy.drop_interval is not None:
            return self.accuracy.drop_interval.low <= 0
        agreement = self.fidelity.agreement
        return self.compared_on != "random inputs" and agreement is not None and agreement >= _SURE_AGREEMENT
