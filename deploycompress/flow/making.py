"""widths of single layers -> the plan and the quantized graph; one maker a form, and nothing behind asks which it is.

A layer has the width that the form gives it, or one chosen for it alone: 32 bits, which is float, in every form; and in
the weight-only form the wider codes too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import onnx_ir as ir

from deploycompress.flow.planner import Planner
from deploycompress.quantization.dynamic import emit_dynamic
from deploycompress.quantization.plan import plan_dynamic
from deploycompress.quantization.qdq import emit_qdq
from deploycompress.quantization.qoperator import to_qoperator
from deploycompress.quantization.spec import Bits, QuantPlan, Width
from deploycompress.records.formats import Layout
from deploycompress.targets import Target


@dataclass(frozen=True)
class Made:
    """A quantized graph.

    Attributes:
        plan: What became of every node, and why.
        model: The graph.
        samples: Calibration samples behind it (feeds, for a model of a fixed batch); 0 where it needs none.
    """

    plan: QuantPlan
    model: ir.Model
    samples: int = 0


@dataclass(frozen=True)
class Choice:
    """What one layer becomes instead of what the form makes of it.

    Attributes:
        width: Bits of its weight; 32 is float.
        reason: Why, in words.
    """

    width: Width
    reason: str


class Maker(Protocol):
    """Quantizes one float graph, in one form, as often as it is asked."""

    @property
    def wider(self) -> tuple[Bits, ...]:
        """Widths between that of the form and float that single layers can have, narrowest first."""
        ...

    def __call__(self, widths: Mapping[str, Width]) -> Made:
        """The quantized graph in which these nodes (by first output name) have another width than the form says."""
        ...


@dataclass(frozen=True)
class Static:
    """Activation scales from calibration.

    Attributes:
        planner: Plans for any exclusion, and the statistics they rest on.
        layout: How 8-bit operators are written.
    """

    planner: Planner
    layout: Layout = "qdq"

    @property
    def wider(self) -> tuple[Bits, ...]:
        """See `Maker`."""
        return ()

    def __call__(self, widths: Mapping[str, Width]) -> Made:
        """See `Maker`."""
        plan = self.planner.plan(frozenset(widths))
        assert self.planner.statistics is not None
        model = emit_qdq(self.planner.floats, plan)
        if self.layout == "qoperator":
            model = to_qoperator(model)
        return Made(plan, model, self.planner.statistics.samples)


@dataclass(frozen=True)
class Dynamic:
    """Activation scales found at run time.

    Attributes:
        floats: The float graph.
        target: The device whose rules decide.
    """

    floats: ir.Model
    target: Target

    @property
    def wider(self) -> tuple[Bits, ...]:
        """See `Maker`."""
        return ()

    def __call__(self, widths: Mapping[str, Width]) -> Made:
        """See `Maker`."""
        plan = plan_dynamic(self.floats, self.target, frozenset(widths))
        return Made(plan, emit_dynamic(self.floats, plan))
