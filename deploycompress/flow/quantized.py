"""What `quantize` did and what it bought: the record that the command prints and writes as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deploycompress.data import Skipped
from deploycompress.flow.keeping import Kept
from deploycompress.flow.padding import PaddedBatch
from deploycompress.flow.preparations import Preparation
from deploycompress.quantization.saturation import Saturation
from deploycompress.quantization.spec import NodePlan
from deploycompress.records.measured import Comparison, Fidelity

_WORTHWHILE = 1.05  # times smaller


@dataclass(frozen=True)
class QuantizeResult:
    """What `quantize` did and what it bought.

    Attributes:
        source: The model as given.
        output: The model written.
        target: Name of the target.
        form: What it was asked to become, in words.
        nodes: What became of every node that holds weights or moves 8-bit values, with the reason.
        rewrites: Exact rewrites applied first.
        preparations: What was tried on the float graph so that it loses less, and what it bought.
        float_layers: Layers left float because they were measured faster there.
        given_up: Speed, against the source, of the int8 graph of which every layer went back to float because it is
            slower; None where some layers stayed.
        samples: Calibration samples used (feeds, for a model of a fixed batch); 0 for dynamic int8.
        available: How many there are.
        ended: Why no more of them were used.
        data: Where they came from.
        fingerprint: Of all of them.
        skipped: Unusable files, with reasons.
        bytes_before: Size of the source, external data included.
        bytes_after: Size of the output.
        int8_nodes: Nodes of the executed graph that compute in 8 bits.
        kernels: What the runtime made of the quantized layers, in words.
        padded: Whether a padded batch gives the same rows as its samples alone; None for a model without a mask.
        weights_dequantized: Weights turned back to float on every run (each one costs more than int8 gains).
        fidelity: Outputs against the float model.
        gives_scores: Whether the first output holds class scores, so that equal decisions mean something.
        compared_on: What the two were run on: calibration samples, or random inputs where none were given.
        comparison: Latency against the float model, or None where this machine is not the target.
        goal: How the limit on accuracy was kept; None where none was asked for.
        saturation: What 16-bit pair sums would cost with full-range weights, and that the file is free of them; None
            where the kernels of the target have none.
        notes: What the figures do not say by themselves.
    """

    source: Path
    output: Path
    target: str
    form: str
    nodes: tuple[NodePlan, ...]
    rewrites: tuple[str, ...]
    preparations: tuple[Preparation, ...]
    float_layers: tuple[str, ...]
    given_up: Comparison | None
    samples: int
    available: int
    ended: str
    data: str
    fingerprint: str
    skipped: tuple[Skipped, ...]
    bytes_before: int
    bytes_after: int
    int8_nodes: int
    kernels: str
    padded: PaddedBatch | None
    weights_dequantized: int
    fidelity: Fidelity
    gives_scores: bool
    compared_on: Literal["samples", "random inputs"]
    comparison: Comparison | None
    goal: Kept | None
    saturation: Saturation | None
    notes: tuple[str, ...]

    @property
    def buys_nothing(self) -> bool:
        """Whether the output is as large as the float model, and was measured no faster."""
        smaller = self.bytes_before / self.bytes_after
        return smaller < _WORTHWHILE and self.comparison is not None and self.comparison.verdict != "FASTER"

    @property
    def is_slower(self) -> bool:
        """Whether the output was measured slower than the float model, beyond noise."""
        return self.comparison is not None and self.comparison.verdict == "SLOWER"
