"""float graph + statistics -> static int8 plans for any set of excluded nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import onnx_ir as ir

from deploycompress.calibration import RangeMethod, Statistics
from deploycompress.flow.gathering import Gather
from deploycompress.quantization.plan import observable_tensors, plan, required_tensors
from deploycompress.quantization.side_path import Channels, without
from deploycompress.quantization.spec import QuantPlan
from deploycompress.runtime.session import SessionConfig
from deploycompress.targets import Target


@dataclass
class Planner:
    """Plans of one model for any exclusion; looks at the tensors of the first, and once at all others that may matter.

    Attributes:
        floats: The float graph.
        target: The device whose rules decide.
        method: How ranges are chosen.
        gather: Where statistics come from.
        config: How sessions are opened.
        sides: Channels that a float product takes (see `preparations`), by the tensor they are channels of.
        statistics: Everything seen so far; None before the first plan.
    """

    floats: ir.Model
    target: Target
    method: RangeMethod
    gather: Gather
    config: SessionConfig
    sides: Mapping[str, Channels] = field(default_factory=dict)
    statistics: Statistics | None = None

    def plan(self, excluded: frozenset[str]) -> QuantPlan:
        """The plan that leaves `excluded` float."""
        seen = self.statistics
        wanted = [n for n in required_tensors(self.floats, self.target, excluded) if seen is None or n not in seen]
        if seen is not None and wanted:  # a search goes on excluding; a pass over the samples each time would be long
            wanted = [name for name in observable_tensors(self.floats, self.target) if name not in seen]
        if seen is None or wanted:
            more = self.gather(wanted, None if seen is None else seen.samples)
            more.require_finite()
            seen = more if seen is None else replace(seen, tensors={**seen.tensors, **more.tensors})
            self.statistics = seen
        return plan(self.floats, self.target, without(seen, self.sides), method=self.method, exclude=excluded)
