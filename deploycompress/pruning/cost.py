"""model, shapes of its inputs -> multiplications and additions of one run, and elements of its weights.

    Conv, ConvTranspose  outputs (or inputs) x elements of a filter
    MatMul, Gemm         outputs x inner length

Source: operator specifications; other operators are not counted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import onnx_ir as ir

from deploycompress.passes import graph as g
from deploycompress.passes.fold_constants import FoldConstants
from deploycompress.passes.shapes import Shapes
from deploycompress.pruning.lengths import certain


def parameters(model: ir.Model) -> int:
    """Elements of all floating-point weights."""
    tensors = (value.const_value for graph in model.graphs() for value in graph.initializers.values())
    return sum(tensor.size for tensor in tensors if tensor is not None and tensor.dtype.is_floating_point())


def macs(model: ir.Model, inputs: Mapping[str, Sequence[int]]) -> int:
    """Multiply-accumulates of the main graph on inputs of these shapes; products of unknown shape count for nothing."""
    return sum(by_output(model, inputs).values())


def by_output(model: ir.Model, inputs: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """The same of each node that multiplies, by the name of its first output."""
    copy = model.clone()
    for value in copy.graph.inputs:
        if (name := value.name or "") in inputs:
            value.shape = ir.Shape(inputs[name])
    copy = FoldConstants()(copy).model
    shapes = certain(copy)
    found = {node.outputs[0].name or "": _of(node, shapes) for node in copy.graph}
    return {name: count for name, count in found.items() if count}


def _of(node: ir.Node, shapes: Shapes) -> int:
    if not g.is_op(node, "Conv", "ConvTranspose", "MatMul", "Gemm"):
        return 0
    source, weight, result = (shapes.static(value) for value in (*node.inputs[:2], node.outputs[0]))
    if source is None or weight is None or result is None:
        return 0
    if node.op_type == "Conv":
        return math.prod(result) * math.prod(weight[1:])
    if node.op_type == "ConvTranspose":
        return math.prod(source) * math.prod(weight[1:])
    inner = source[0] if node.op_type == "Gemm" and g.int_attribute(node, "transA", 0) else source[-1]
    return math.prod(result) * inner
