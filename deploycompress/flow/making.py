"""nodes to leave float -> the plan and the quantized graph; one maker a form, and nothing behind asks which it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import onnx_ir as ir

from deploycompress.flow.planner import Planner
from deploycompress.quantization.dynamic import emit_dynamic
from deploycompress.quantization.plan import plan_dynamic
from deploycompress.quantization.qdq import emit_qdq
from deploycompress.quantization.qoperator import to_qoperator
from deploycompress.quantization.spec import QuantPlan
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


class Maker(Protocol):
    """Quantizes one float graph, in one form, as often as it is asked."""

    def __call__(self, excluded: frozenset[str]) -> Made:
        """The quantized graph with these nodes (names of their first outputs) left float."""
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

    def __call__(self, excluded: frozenset[str]) -> Made:
        """See `Maker`."""
        plan = self.planner.plan(excluded)
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

    def __call__(self, excluded: frozenset[str]) -> Made:
        """See `Maker`."""
        plan = plan_dynamic(self.floats, self.target, excluded)
        return Made(plan, emit_dynamic(self.floats, plan))
