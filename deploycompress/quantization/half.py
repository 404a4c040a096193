"""float graph + target [+ measured ranges] -> which nodes compute in half precision, which stay float32, and why.

Where no provider of the target computes in half (ONNX Runtime's CPU provider would convert around every kernel),
weights alone are stored in half and turned back when the model is loaded: half the file at float32 speed.

A node stays float32 where half would break it: it has no half form; a tensor it reads or writes was measured (or a
constant of it is) outside the range, with a margin of 2; the squares that it sums inside would be; or a constant that
matters would become 0, such as the epsilon of a division. bfloat16 has the range of float32, and only the form counts.

Source: IEEE 754 binary16 (largest 65504, smallest 2^-24); ONNX operator schemas.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from deploycompress.calibration.statistics import TensorStatistics
from deploycompress.passes import graph as g
from deploycompress.passes import shapes
from deploycompress.quantization.candidates import WEIGHTED, key
from deploycompress.quantization.half_types import halves, is_float32
from deploycompress.quantization.spec import NodePlan, QuantPlan
from deploycompress.quantization.writer import matrix
from deploycompress.targets import Target

EXCLUDED = "excluded by the user"
MIN_OPSET = 13  # Cast from bfloat16
LARGEST = 65504.0
SMALLEST = 2.0**-24
MARGIN = 2.0  # calibration samples are not all samples
_SLAB = 1 << 20  # elements looked at together
MOVERS = frozenset(
    {"Concat", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "Pad", "Reshape", "Slice"}
    | {"Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"}
)
_SUMS_SQUARES = frozenset(
    {"GlobalLpPool", "GroupNormalization", "InstanceNormalization", "LRN", "LpNormalization", "LpPool", "ReduceL2"}
    | {"MeanVarianceNormalization", "ReduceSumSquare"}
)
_TYPED_BY_ATTRIBUTE = frozenset(
    {"Bernoulli", "BlackmanWindow", "EyeLike", "HammingWindow", "HannWindow", "Multinomial", "RandomNormal"}
    | {"RandomNormalLike", "RandomUniform", "RandomUniformLike", "QuantizeLinear", "DequantizeLinear"}
)


def computes(target: Target) -> bool:
    """Whether a provider of the target has half-precision kernels; that of the CPU has a handful."""
    return target.providers[0] != "CPUExecutionProvider"


def plan_half(
    model: ir.Model,
    target: Target,
    half: ir.DataType,
    ranges: Mapping[str, TensorStatistics] | None = None,
    exclude: frozenset[str] = frozenset(),
) -> QuantPlan:
    """What becomes of every node of the main graph; where half is stored only, of those with weights in any graph.

    Args:
        model: The float graph.
        target: Its providers decide whether half is computed in or stored in.
        half: FLOAT16 or BFLOAT16.
        ranges: What tensors were seen to hold; without them only constants are judged.
        exclude: First output names of nodes the user keeps float.

    """
    form = "fp16" if half == ir.DataType.FLOAT16 else "bf16"
    types = shapes.infer(model)
    nodes = {}
    for node in model.graph if computes(target) else model.graph.all_nodes():
        name = key(node)
        if computes(target):
            refusal, reason = _why_float(node, types, half, ranges or {}), "has a half form, and its values fit"
        elif node.op_type in WEIGHTED or _constants(node):
            refusal, reason = "", "weights stored in half, computed in float32"
        else:
            continue
        refusal = EXCLUDED if name in exclude else refusal
        nodes[name] = NodePlan(name, node.name or "", node.op_type, "float" if refusal else form, refusal or reason)  # type: ignore[arg-type]
    return QuantPlan(target.name, {}, nodes, pair_safe=False, per_channel=False, quantize_bias=False)


def fits(tensor: ir.TensorProtocol, half: ir.DataType) -> bool:
    """Whether a constant keeps its meaning in half: in range, and not all zero where it was not (an epsilon would)."""
    if half == ir.DataType.BFLOAT16:
        return True
    flat, largest = matrix(tensor, transposed=False).reshape(-1), 0.0
    for start in range(0, flat.size, _SLAB):
        slab = np.abs(flat[start : start + _SLAB])
        largest = max(largest, float(slab[np.isfinite(slab)].max(initial=0.0)))
    return largest <= LARGEST and (largest == 0.0 or largest >= SMALLEST)


def _why_float(node: ir.Node, types: shapes.Shapes, half: ir.DataType, ranges: Mapping[str, TensorStatistics]) -> str:
    """Why a node stays float32, or ""."""
    if g.has_subgraph(node):
        return "it holds a graph of its own"
    if node.op_type == "Constant" and "value" not in node.attributes:
        return "it is written as a number, not as a tensor"
    if node.op_type in _TYPED_BY_ATTRIBUTE:
        return f"the type of {node.op_type} is written in it"
    is_float = [is_float32(value, types) for value in node.inputs]
    gives_float = [is_float32(value, types) for value in node.outputs]
    if not any(is_float) and not any(gives_float):
        return "it has no float32 input or output"
    refusal = halves(node, types.opset, half, is_float, gives_float).refusal
    return refusal or ("" if half == ir.DataType.BFLOAT16 else _why_out_of_range(node, half, ranges))


def _why_out_of_range(node: ir.Node, half: ir.DataType, ranges: Mapping[str, TensorStatistics]) -> str:
    """Why the values of a node do not fit in float16, or ""."""
    for tensor in _constants(node):
        if not fits(tensor, half):
            return f"constant {tensor.name!r} is out of the range of float16 or would become 0"
    for value in (*node.inputs, *node.outputs):
        seen = None if value is None else ranges.get(str(value.name))
        if value is None or seen is None:
            continue
        if seen.nonfinite:
            return f"{value.name!r} is not finite in float32 either"
        reach = max(abs(seen.low), abs(seen.high)) if seen.count else 0.0
        if reach > LARGEST / MARGIN:
            return f"{value.name!r} reaches {reach:.3g}, float16 ends at 65504"
        if node.op_type in _SUMS_SQUARES and value is node.inputs[0] and reach**2 > LARGEST / MARGIN:
            return f"{node.op_type} squares {value.name!r}, which reaches {reach:.3g}"
    return ""


def _constants(node: ir.Node) -> list[ir.TensorProtocol]:
    """The float32 constants a node reads."""
    found = (g.constant(value) for value in node.inputs)
    return [tensor for tensor in found if tensor is not None and tensor.dtype == ir.DataType.FLOAT]
