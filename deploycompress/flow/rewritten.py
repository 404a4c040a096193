"""float model -> the model after the exact rewrites for its target, compared with the source on every feed."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from deploycompress.flow.feeds import stable
from deploycompress.flow.gate import Gate, run_steps
from deploycompress.flow.given import Given
from deploycompress.passes.base import Pass


def rewritten(given: Given, steps: Sequence[Pass]) -> tuple[ir.Model, tuple[str, ...]]:
    """The model after `steps`, and the names of those that were kept."""
    gate = Gate(given.feeds, stable(given.original, given.feeds), given.config, measure=False)
    _, last, outcomes = run_steps(steps, given.model, gate)
    return last.model, tuple(outcome.name for outcome in outcomes if outcome.kept)
