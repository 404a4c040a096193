"""MatMul(A, W) -> Add(c) ==> Gemm(A, W, c), for 2-D A and constant W [in, out], c [out].

One node instead of two, and the form whose int8 kernel takes the bias as int32 (QGemm).
Source: ONNX operators MatMul, Gemm (unidirectional broadcast of C to [M, N]).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from deploycompress.passes import graph as g
from deploycompress.passes.base import Findings, PassResult
from deploycompress.passes.shapes import Shapes, infer


@dataclass(frozen=True)
class MatMulToGemm:
    """Merges a two-dimensional MatMul and the bias Add after it."""

    exact: ClassVar[bool] = True

    def __call__(self, model: ir.Model) -> PassResult:
        """Rewrites a copy of `model`."""
        found = Findings()
        if g.opset(model) < 7 or not g.contains(model, "MatMul"):
            return found.result(model, model)  # before opset 7 Gemm broadcast by an attribute
        after = model.clone()
        shapes = infer(after)
        for node in g.nodes(after):
            if not g.is_op(node, "Add"):
                continue
            for index in (0, 1):
                value = node.inputs[index]
                matmul = None if value is None else value.producer()
                if matmul is None or not g.is_op(matmul, "MatMul"):
                    continue
                name = g.label(node)
                reason = _merge(node, matmul, node.inputs[1 - index], shapes)
                if reason is None:
                    found.changed(name, "MatMul and Add merged into Gemm")
                    break
                found.refused(name, reason)
        return found.result(model, after)


def _merge(add: ir.Node, matmul: ir.Node, bias: ir.Value | None, shapes: Shapes) -> str | None:
    weight, addend = g.constant(matmul.inputs[1]), g.constant(bias)
    if weight is None:
        return g.why_not_constant("weight", matmul.inputs[1])
    if addend is None:
        return g.why_not_constant("bias", bias)
    if g.sole_user(matmul.outputs[0]) is not add or matmul.graph is not add.graph:
        return "the MatMul before it has other users"
    rank = shapes.rank(matmul.inputs[0])
    if rank != 2 or len(weight.shape) != 2:
        return "the rank of the MatMul input is unknown" if rank is None else f"the MatMul input has rank {rank}, not 2"
    if weight.dtype not in (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE):
        return f"the weight is {weight.dtype.name}"
    shape, columns = tuple(addend.shape.numpy()), int(weight.shape.numpy()[1])
    if shape not in ((columns,), (1, columns)):
        return f"the bias has shape {shape}, not one value for each of {columns} columns"
    graph = add.graph
    if not isinstance(graph, ir.Graph):
        return "the node is not in a graph"
    output = add.outputs[0]
    gemm = ir.Node("", "Gemm", [matmul.inputs[0], matmul.inputs[1], bias], num_outputs=1, name=matmul.name)
    gemm.outputs[0].name, gemm.outputs[0].type = matmul.outputs[0].name, output.type
    gemm.outputs[0].shape = output.shape
    shapes.copy(output, gemm.outputs[0])
    graph.insert_before(add, gemm)
    reason = g.bypass(add, gemm.outputs[0])
    if reason is not None:
        graph.remove(gemm, safe=True)
        return reason
    matmul.outputs[0].name = None
    graph.remove(matmul, safe=True)
    return None
