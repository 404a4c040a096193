"""executed graph -> which nodes compute in 8 bits, which stayed float and why, which only convert.

Read from the graph after ONNX Runtime's own fusions, so it says what ran, not what was asked for. Element types are
followed from the initializers and the Q/DQ nodes, because the runtime does not write them for intermediate values.
Source: ONNX Runtime contrib operator specifications (QLinear*, QGemm, MatMulIntegerToFloat ...) and its QDQ selectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import onnx_ir as ir

from deploycompress.flow.executed import timed_nodes

Kind = Literal["int8", "float", "conversion", "other"]

_INT8_COMPUTE = frozenset(
    {"ConvInteger", "MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM"}
    | {"QGemm", "QAttention", "QEmbedLayerNormalization"}
)
_FLOAT_RESULT = frozenset({"MatMulIntegerToFloat", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "QAttention"})
_CONVERSIONS = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "Cast", "ReorderInput", "ReorderOutput"}
)
_MOVES = frozenset(
    {"Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "MaxPool"}
    | {"NhwcMaxPool", "Pad", "Reshape", "Resize", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose"}
    | {"Unsqueeze"}
)
# Operators that carry the weights of a network, and what the 8-bit form of each is called.
_WEIGHTED = {
    "Conv": "QLinearConv",
    "FusedConv": "QLinearConv",
    "NhwcFusedConv": "QLinearConv",
    "Gemm": "QGemm",
    "FusedGemm": "QGemm",
    "MatMul": "QLinearMatMul or MatMulIntegerToFloat",
    "FusedMatMul": "QLinearMatMul or MatMulIntegerToFloat",
}
_HEAVY_WITHOUT_INT8 = frozenset({"ConvTranspose", "LSTM", "GRU", "RNN", "Attention", "MultiHeadAttention", "Einsum"})
_BYTES = (ir.DataType.INT8, ir.DataType.UINT8)


@dataclass(frozen=True)
class Census:
    """Answers about the nodes of one executed graph.

    Attributes:
        kinds: What each node does.
        reasons: For every node that could carry weights and stayed float: why.
        dequantized_weights: DequantizeLinear nodes that turn a stored weight into float on every run.
    """

    kinds: dict[ir.Node, Kind]
    reasons: dict[ir.Node, str]
    dequantized_weights: tuple[ir.Node, ...]

    @property
    def is_quantized(self) -> bool:
        """Whether anything in the graph is 8 bits wide on purpose."""
        return any(kind == "int8" for kind in self.kinds.values()) or bool(self.dequantized_weights)


def take(model: ir.Model) -> Census:
    """Classifies the nodes of an executed model, those of If branches included."""
    found = list(timed_nodes(model.graph))
    types = _byte_values(model, found)
    kinds = {node: _kind(node, types) for node in found}
    stored = tuple(n for n in found if n.op_type == "DequantizeLinear" and _is_stored(n.inputs[0]))
    census = Census(kinds, {}, stored)
    if not census.is_quantized:
        return census
    reasons = {
        node: _why_float(node, types) for node, kind in kinds.items() if kind == "float" and _could_be_int8(node)
    }
    return Census(kinds, reasons, stored)


def _byte_values(model: ir.Model, nodes: Sequence[ir.Node]) -> set[ir.Value]:
    """Values whose elements are 8 bits wide."""
    given = [v for graph in model.graphs() for v in (*graph.inputs, *graph.initializers.values())]
    found = {v for v in given if v.dtype in _BYTES}
    for node in nodes:
        if node.op_type in ("QuantizeLinear", "DynamicQuantizeLinear"):
            # Without a zero point the result is uint8, and output_dtype may ask for another type (opset 21).
            zero_point = node.inputs[2] if len(node.inputs) > 2 else None
            if zero_point is None or zero_point.dtype in (*_BYTES, None):
                found.add(node.outputs[0])
        elif node.op_type.startswith("QLinear") or (node.op_type == "QGemm" and len(node.inputs) > 8):
            found.add(node.outputs[0])
        elif node.op_type in _MOVES and node.inputs and node.inputs[0] in found:
            found.update(node.outputs)
    return found


def _kind(node: ir.Node, types: set[ir.Value]) -> Kind:
    if node.op_type in _CONVERSIONS:
        return "conversion"
    if node.op_type.startswith("QLinear") or node.op_type in _INT8_COMPUTE:
        return "int8"
    if node.op_type in _MOVES:
        return "int8" if node.inputs and node.inputs[0] in types else "other"
    return "float"


def _could_be_int8(node: ir.Node) -> bool:
    return node.op_type in _WEIGHTED or node.op_type in _HEAVY_WITHOUT_INT8


def _why_float(node: ir.Node, types: set[ir.Value]) -> str:
    if node.op_type in _HEAVY_WITHOUT_INT8:
        return f"ONNX Runtime has no int8 kernel for {node.op_type} on this provider"
    if len(node.inputs) < 2:
        return "it has no weight"
    weight = _dequantized(node.inputs[1])
    if weight is None:
        return (
            "its weight is stored as float" if _is_stored(node.inputs[1]) else "both its inputs are computed in float"
        )
    cost = " (its weight is dequantized on every run)" if _is_stored(weight) else ""
    activation = _dequantized(node.inputs[0])
    if activation is None:
        return f"its input {_name(node.inputs[0])} is float{cost}"
    if activation not in types:
        return f"its input {_name(node.inputs[0])} is quantized, but not to 8 bits{cost}"
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if bias is not None and _dequantized(bias) is None:
        return f"its bias {_name(bias)} is float; the int8 kernel takes int32{cost}"
    if node.op_type.endswith("Conv"):
        users = [use.node.op_type for use in node.outputs[0].uses()]
        if users != ["QuantizeLinear"]:
            read_by = ", ".join(sorted(set(users))) or "the caller"
            return f"its output is read by {read_by}; an int8 Conv needs exactly one reader, QuantizeLinear{cost}"
    if activation.dtype is not None and weight.dtype is not None:
        return f"ONNX Runtime did not fuse {activation.dtype.name} x {weight.dtype.name}{cost}"
    return f"ONNX Runtime did not fuse it into {_WEIGHTED[node.op_type]}{cost}"


def _dequantized(value: ir.Value | None) -> ir.Value | None:
    """The quantized value behind a DequantizeLinear, or None where `value` is not one's output."""
    producer = None if value is None else value.producer()
    return producer.inputs[0] if producer is not None and producer.op_type == "DequantizeLinear" else None


def _is_stored(value: ir.Value | None) -> bool:
    return value is not None and value.is_initializer()


def _name(value: ir.Value | None) -> str:
    return "" if value is None else repr(value.name)
