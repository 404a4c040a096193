"""[B, S, H] -> MatMul(., W) -> Add -> LayerNormalization ==> [B*S, H] -> Gemm(., W, b) -> LayerNormalization.

Linear layers, normalizations and activations work on each row alone, so the two leading axes can be one. That gives the
linear layers the form whose bias is in the product (and whose int8 kernel is QGemm), and ONNX Runtime does not fuse the
residual with the normalization into SkipLayerNormalization, whose CPU kernel takes ten times as long as the two.
The axes come back where something else than rows is wanted: at the attention heads and at the outputs.

Source: ONNX operators MatMul, Gemm, Reshape; the equality of leading axes is that of `symbolic`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from deploycompress.passes import graph as g
from deploycompress.passes.base import Findings, PassResult
from deploycompress.passes.matmul_to_gemm import MatMulToGemm
from deploycompress.passes.row_axes import MIN_OPSET, RowAxes
from deploycompress.passes.shapes import Length, Shapes
from deploycompress.passes.symbolic import symbolic

# fmt: off
_EACH_ELEMENT = frozenset({
    "Add", "Cast", "Clip", "Div", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu",
    "Max", "Min", "Mul", "Neg", "Pow", "Reciprocal", "Relu", "Sigmoid", "Sqrt", "Sub", "Sum", "Tanh",
})
# fmt: on
_EACH_ROW = frozenset({"LayerNormalization", "RMSNormalization", "Softmax"})


@dataclass(frozen=True)
class RowsToMatrix:
    """Makes one axis of the two leading axes around linear layers."""

    exact: ClassVar[bool] = True

    def __call__(self, model: ir.Model) -> PassResult:
        """Rewrites a copy of `model`."""
        found = Findings()
        if g.opset(model) < MIN_OPSET or not g.contains(model, "MatMul"):
            return found.result(model, model)
        after = model.clone()
        shapes = symbolic(after)
        axes = RowAxes(after, shapes)
        rows = {node for node in after.graph if _works_on_rows(node, shapes, axes)}
        region = {node for part in _parts(rows) if _has_linear_layer(part) for node in part}
        if not region:
            return found.result(model, model)
        in_order = [node for node in after.graph if node in region]
        for node in in_order:
            _enter(node, region, shapes, axes)
        for node in in_order:
            _leave(node, region, shapes, axes)
            if g.is_op(node, "MatMul"):
                found.changed(g.label(node), "MatMul works on a matrix of rows")
        merged = MatMulToGemm()(after)
        found.changes += merged.changes
        return found.result(model, merged.model)


def _works_on_rows(node: ir.Node, shapes: Shapes, axes: RowAxes) -> bool:
    """Whether `node` makes each row of its output of the same row of its inputs, for rows whose axes can come back."""
    lengths = shapes.symbolic(node.outputs[0])
    if lengths is None or len(lengths) != 3 or not isinstance(lengths[2], int):
        return False
    if not axes.restorable(lengths[:2]) or any(output.uses() for output in node.outputs[1:]):
        return False
    if g.is_op(node, "MatMul"):
        return _rows(node.inputs[0], lengths[:2], shapes) and shapes.rank(node.inputs[1]) == 2
    if g.is_op(node, *_EACH_ROW):
        parameters = all(shapes.rank(value) == 1 for value in node.inputs[1:] if value is not None)
        last = g.int_attribute(node, "axis", -1) in (-1, 2)
        return last and parameters and _rows(node.inputs[0], lengths[:2], shapes)
    if not g.is_op(node, *_EACH_ELEMENT):
        return False
    return all(
        value is not None and ((shapes.rank(value) or 0) <= 1 or _rows(value, lengths[:2], shapes))
        for value in node.inputs
    ) and all(shapes.rank(value) is not None for value in node.inputs)


def _rows(value: ir.Value | None, lead: tuple[Length, ...], shapes: Shapes) -> bool:
    """Whether `value` is computed and has the leading axes `lead` and a known last one."""
    lengths = shapes.symbolic(value)
    return (
        lengths is not None
        and len(lengths) == 3
        and lengths[:2] == lead
        and isinstance(lengths[2], int)
        and g.constant(value) is None
    )


def _has_linear_layer(part: set[ir.Node]) -> bool:
    """Whether a product with a constant is followed by its bias: without one a matrix of rows gains nothing."""
    return any(
        g.is_op(node, "MatMul")
        and g.constant(node.inputs[1]) is not None
        and (reader := g.sole_user(node.outputs[0])) is not None
        and g.is_op(reader, "Add")
        and any(g.constant(value) is not None for value in reader.inputs)
        for node in part
    )


def _parts(nodes: set[ir.Node]) -> Iterator[set[ir.Node]]:
    """The connected parts of `nodes`."""
    left = set(nodes)
    while left:
        part, todo = set(), [left.pop()]
        while todo:
            node = todo.pop()
            part.add(node)
            producers = {value.producer() for value in node.inputs if value is not None}
            users = {use.node for output in node.outputs for use in output.uses()}
            near = left & (producers | users)
            left -= near
            todo += near
        yield part


def _enter(node: ir.Node, region: set[ir.Node], shapes: Shapes, axes: RowAxes) -> None:
    """Flattens what `node` reads from outside the region; its own output loses an axis."""
    for index, value in enumerate(node.inputs):
        if value is None or value.producer() in region or len(shapes.symbolic(value) or ()) != 3:
            continue
        node.replace_input_with(index, axes.flat(value, node))
        g.drop_unread([value])
    attribute = node.attributes.get("axis")
    if attribute is not None:
        node.attributes["axis"] = ir.AttrInt64("axis", -1)
    output, lengths, dtype = node.outputs[0], shapes.symbolic(node.outputs[0]), shapes.dtype(node.outputs[0])
    if lengths is not None and dtype is not None:
        output.shape, output.type = ir.Shape([None, lengths[2]]), ir.TensorType(dtype)


def _leave(node: ir.Node, region: set[ir.Node], shapes: Shapes, axes: RowAxes) -> None:
    """Gives the readers outside the region the axes back; those that rename axes take the rows as they are."""
    output, lengths = node.outputs[0], shapes.symbolic(node.outputs[0])
    if lengths is None:
        return
    outside = [use for use in output.uses() if use.node not in region]
    for use in tuple(outside):
        result = shapes.symbolic(use.node.outputs[0])
        if use.idx != 0 or result is None:
            continue
        if _is_matrix(use.node, result, lengths) and g.bypass(use.node, output) is None:
            outside.remove(use)
        elif g.is_op(use.node, "Reshape") and axes.restorable(result):
            old = use.node.inputs[1]
            use.node.replace_input_with(1, axes.target(result))
            use.node.attributes.pop("allowzero", None)
            g.drop_unread([old])
            outside.remove(use)
    if outside or output.is_graph_output():
        back = axes.back(output, lengths)
        for use in outside:
            use.node.replace_input_with(use.idx, back)


def _is_matrix(node: ir.Node, result: tuple[Length, ...], lengths: tuple[Length, ...]) -> bool:
    """Whether `node` makes of [B, S, H] the matrix of its rows: a Reshape, or a Gather of the only row (S = 1)."""
    if len(result) != 2 or result[1] != lengths[2]:
        return False
    return g.is_op(node, "Reshape") or (
        g.is_op(node, "Gather") and g.int_attribute(node, "axis", 0) == 1 and lengths[1] == 1
    )
