"""What a plan says: which tensor gets which grid, which node runs in which form, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from deploycompress.calibration.gram import Gram, LayerInput
from deploycompress.calibration.ranges import RangeMethod
from deploycompress.quantization.affine import Grid

NodeForm = Literal["int8", "dynamic int8", "weight-only", "fp16", "bf16", "float"]
Rounding = Literal["nearest", "gptq", "adaround", "awq"]
Levels = Literal["uniform", "ternary", "binary"]
Bits = Literal[8, 4, 2]
Width = Bits | Literal[32]
Placement = Literal["output", "input"]

FLOAT: Literal[32] = 32


@dataclass(frozen=True)
class QuantSpec:
    """How one activation is quantized.

    Attributes:
        grid: Scale, zero point and element type.
        placement: "output": every consumer reads the quantized value; "input": only 8-bit consumers do.
        method: How the range was chosen, or "shared" where the grid is that of `like`.
        like: The tensor whose grid is shared, for operators that only move values.
    """

    grid: Grid
    placement: Placement
    method: RangeMethod | Literal["shared"]
    like: str | None = None


@dataclass(frozen=True)
class WeightSpec:
    """How one weight is stored.

    Attributes:
        bits: Width of a code.
        block: Elements along K that share a scale; None for one scale per output channel.
        symmetric: Zero point in the middle of the codes instead of a fitted one.
        levels: All codes ("uniform"), {-a, 0, a} ("ternary") or {-a, a} ("binary").
        rounding: How the codes were chosen.
    """

    bits: Bits
    block: int | None = None
    symmetric: bool = True
    levels: Levels = "uniform"
    rounding: Rounding = "nearest"


@dataclass(frozen=True)
class NodePlan:
    """What becomes of one node.

    Attributes:
        node: Name of its first output, which is unique where node names may be empty.
        name: Node name, possibly empty.
        op_type: Operator.
        form: The form it will run in.
        reason: Why, in words.
        absorbs: First output of the Relu or Clip behind it that the saturation of its output grid replaces.
        weight: How its weight is stored, where the form is "weight-only" or the rounding was chosen for it.
    """

    node: str
    name: str
    op_type: str
    form: NodeForm
    reason: str
    absorbs: str | None = None
    weight: WeightSpec | None = None


@dataclass(frozen=True)
class QuantPlan:
    """The whole decision; an emitter needs nothing else.

    Attributes:
        target: Name of the target it was made for.
        activations: Spec by tensor name.
        nodes: Plan by first output name, every node of the main graph that holds weights or moves 8-bit values.
        pair_safe: Whether weight codes are bounded so that 16-bit pair sums cannot saturate.
        per_channel: One weight scale per output channel.
        quantize_bias: Whether biases become int32.
        dedicated_pairs: Whether each 8-bit reader of a tensor has Q and DQ of its own.
        input_means: Mean of each channel of an input, by tensor name, with which biases are corrected.
        grams: Second moments of the inputs of layers, with which their weights are rounded by GPTQ.
    """

    target: str
    activations: Mapping[str, QuantSpec]
    nodes: Mapping[str, NodePlan]
    pair_safe: bool
    per_channel: bool
    quantize_bias: bool
    dedicated_pairs: bool = False
    input_means: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    grams: Mapping[LayerInput, Gram] = field(default_factory=dict)

    @property
    def forms(self) -> Counter[str]:
        """Number of nodes per form."""
        return Counter(plan.form for plan in self.nodes.values())
