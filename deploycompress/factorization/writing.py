"""node, factors -> as many nodes of its operator; the last keeps the output, the name and the bias.

A factor that slides along an axis takes the stride, pads and dilation of it; `auto_pad` goes to every factor that
slides, since it pads an axis of stride and kernel length 1 by nothing. Source: ONNX operators MatMul, Gemm, Conv.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deploycompress.factorization.factors import Factor, Factors
from deploycompress.passes import graph as g


def replace(model: ir.Model, node: ir.Node, factors: Factors, shift: NDArray[np.float64] | None = None) -> ir.Node:
    """Writes `factors` in place of `node`, and returns the last of the new nodes.

    Args:
        model: The model of the node; it is changed.
        node: A layer (see `Layer`).
        factors: What it becomes.
        shift: Added to the bias [outputs], where given; the layer has room for one (see `Layer.may_shift`).
    """
    graph, weight, output = node.graph, g.input_at(node, 1), node.outputs[0]
    assert graph is not None
    assert weight is not None
    assert weight.dtype is not None
    dtype, taken, value = weight.dtype.numpy(), g.names(model), node.inputs[0]
    name = node.name or g.label(node)
    made = []
    for number, factor in enumerate(factors):
        data = factor.weight if node.op_type == "Conv" else factor.weight.T
        kernel = _constant(graph, f"{weight.name}_factor{number}", data.astype(dtype), taken)
        result = ir.Value(name=g.claimed(f"{g.label(node)}_factor{number}", taken), type=output.type)
        attributes = list(_attributes(node, factor))
        made.append(
            ir.Node(
                node.domain, node.op_type, [value, kernel], attributes, outputs=[result], name=f"{name}_factor{number}"
            )
        )
        graph.insert_before(node, made[-1])
        value = result
    last = made[-1]
    bias = g.input_at(node, 2)
    if shift is not None and shift.any():
        before = g.array(bias)
        moved = shift if before is None else before.astype(np.float64) + shift
        bias = _constant(graph, f"{g.label(node)}_bias", moved.astype(dtype), taken)
    if bias is not None:
        last.resize_inputs(3)
        last.replace_input_with(2, bias)
    _take_over(node, last, name)
    return last


def _constant(graph: ir.Graph, name: str, data: NDArray[np.generic], taken: set[str]) -> ir.Value:
    return g.new_initializer(graph, name, data, taken)


def _take_over(node: ir.Node, last: ir.Node, name: str) -> None:
    """Makes `last` give what `node` gave, under its names, and removes `node` with what only it read."""
    old, new = node.outputs[0], last.outputs[0]
    kept, unread = old.name, list(node.inputs[1:])
    new.shape, new.type = old.shape, old.type
    old.replace_all_uses_with(new, replace_graph_outputs=True)
    graph = node.graph
    assert graph is not None
    graph.remove(node, safe=True)
    old.name = None
    new.name, last.name = kept, name
    g.drop_unread(unread)


def _attributes(node: ir.Node, factor: Factor) -> Iterator[ir.Attr]:
    if node.op_type == "Gemm":
        yield ir.AttrInt64("transB", 0)
    if node.op_type != "Conv":
        return
    rank = factor.weight.ndim - 2
    yield ir.AttrInt64s("kernel_shape", list(factor.weight.shape[2:]))
    yield ir.AttrInt64("group", factor.groups)
    for name in ("strides", "dilations"):
        given = g.ints_attribute(node, name) or [1] * rank
        yield ir.AttrInt64s(name, [length if axis in factor.slides else 1 for axis, length in enumerate(given)])
    auto = g.string_attribute(node, "auto_pad", "NOTSET")
    if auto != "NOTSET":
        yield ir.AttrString("auto_pad", auto)
    else:
        pads = g.ints_attribute(node, "pads") or [0] * 2 * rank
        yield ir.AttrInt64s("pads", [pad if n % rank in factor.slides else 0 for n, pad in enumerate(pads)])
