"""layers of a row -> two strips of bars in the order of the graph: time of each node, and SQNR of each layer.

The height of a time is its share of the longest; that of an SQNR its share of the best, at least 40 dB, so that short
bars are layers to look at.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from deploycompress.records.measured import LayerError, LayerFigure
from deploycompress.report import words

_FULL_DB = 40.0


@dataclass(frozen=True)
class Stick:
    """One bar: its height in percent, its class, and what it says when pointed at."""

    height: float
    kind: str
    tip: str


def times(layers: Sequence[LayerFigure]) -> tuple[Stick, ...]:
    """Time of every node."""
    longest = max((layer.time_us for layer in layers), default=0.0) or 1.0
    total = sum(layer.time_us for layer in layers) or 1.0
    return tuple(
        Stick(100 * layer.time_us / longest, layer.kind, f"{layer.name} · {layer.op_type}, {_said(layer, total)}")
        for layer in layers
    )


def errors(layers: Sequence[LayerError]) -> tuple[Stick, ...]:
    """SQNR of every layer."""
    finite = [layer.sqnr_db for layer in layers if math.isfinite(layer.sqnr_db)]
    best = max([_FULL_DB, *finite])
    return tuple(
        Stick(
            100.0 if math.isinf(layer.sqnr_db) else max(0.0, 100 * layer.sqnr_db / best),
            "error",
            f"{layer.name} · {layer.op_type}, {sqnr(layer)}",
        )
        for layer in layers
    )


def sqnr(layer: LayerError) -> str:
    """As in "31.2 dB", or "equal"."""
    return "equal" if math.isinf(layer.sqnr_db) else f"{layer.sqnr_db:.1f} dB"


def _said(layer: LayerFigure, total_us: float) -> str:
    parts = [
        f"{layer.kind}: {words.milliseconds(layer.time_us / 1e3)}, {100 * layer.time_us / total_us:.1f} % of the run"
    ]
    if layer.of_peak is not None:
        parts.append(f"{100 * layer.of_peak:.0f} % of the peak")
    if layer.note:
        parts.append(layer.note)
    return "; ".join(parts)
