"""MatMul -> elementwise -> MatMul -> Transpose(0,3,1,2) ==> Transpose(0,3,1,2) -> Conv 1x1 -> elementwise -> Conv 1x1.

A MatMul of a channels-last image with a matrix [in, out] is a 1x1 convolution of the channels-first one, with weight
[out, in, 1, 1]; the Add behind it is its bias. The transpose back moves in front of the first of them, where it often
undoes another one. ONNX Runtime computes the convolutions in blocks of channels and without copies in between.
Source: ONNX operators MatMul, Conv; Liu et al., "A ConvNet for the 2020s", CVPR 2022 (both forms of its block).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from deploycompress.passes import graph as g
from deploycompress.passes.base import Findings, PassResult
from deploycompress.passes.cancel_transposes import BROADCASTING, permutation, transpose_constants
from deploycompress.passes.merge_views import ELEMENTWISE
from deploycompress.passes.rewriting import insert, replace
from deploycompress.passes.shapes import Shapes, infer

_TO_CHANNELS_FIRST, _TO_CHANNELS_LAST = (0, 3, 1, 2), (0, 2, 3, 1)


@dataclass(frozen=True)
class MatMulToPointwiseConv:
    """Writes linear layers of a channels-last image as 1x1 convolutions of the channels-first one."""

    exact: ClassVar[bool] = True

    def __call__(self, model: ir.Model) -> PassResult:
        """Rewrites a copy of `model`."""
        found = Findings()
        if g.opset(model) < 7 or not g.contains(model, "MatMul") or not g.contains(model, "Transpose"):
            return found.result(model, model)
        after = model.clone()
        shapes = infer(after)
        for node in g.nodes(after):
            if node.graph is None or permutation(node) != _TO_CHANNELS_FIRST:
                continue
            members = _members(node, shapes)
            if not any(member.op_type == "MatMul" for member in members):
                continue
            name = g.label(node)
            reason = _rewrite(after, node, members)
            if reason is None:
                found.changed(name, "linear layers before it written as 1x1 convolutions")
            else:
                found.refused(name, reason)
        return found.result(model, after)


def _members(end: ir.Node, shapes: Shapes) -> list[ir.Node]:
    """Nodes that only `end` depends on and that can work on channels-first values, producers first."""
    if not isinstance(end.graph, ir.Graph):
        return []
    members: list[ir.Node] = []
    readable = {end}
    for node in reversed(list(end.graph)):
        if len(node.outputs) != 1 or node.outputs[0].is_graph_output():
            continue
        readers = [use.node for use in node.outputs[0].uses()]
        if readers and all(reader in readable for reader in readers) and _can_join(node, shapes):
            members.append(node)
            readable.add(node)
    return members[::-1]


def _can_join(node: ir.Node, shapes: Shapes) -> bool:
    if g.is_op(node, "MatMul"):
        image, weight_value = node.inputs[0], node.inputs[1]
        weight = g.constant(weight_value)
        fits = weight is not None and len(weight.shape) == 2 and weight.dtype == ir.DataType.FLOAT
        is_image = g.constant(image) is None and shapes.rank(image) == 4
        return fits and is_image and weight_value is not None and not g.shared(weight_value)
    if not g.is_op(node, *ELEMENTWISE, *BROADCASTING):
        return False
    operands = [(value, g.constant(value)) for value in node.inputs if value is not None]
    fits = all(shapes.rank(value) == 4 if data is None else len(data.shape) <= 4 for value, data in operands)
    return fits and any(data is None for _, data in operands)


def _rewrite(model: ir.Model, end: ir.Node, members: list[ir.Node]) -> str | None:
    """Moves `end` in front of `members`, or says why not."""
    made = {member.outputs[0] for member in members}
    read = [v for member in members for v in member.inputs if v is not None and v not in made]
    sources = list(dict.fromkeys(value for value in read if g.constant(value) is None))
    if len(sources) != 1:
        return f"the layers before it depend on {len(sources)} values"
    source, last = sources[0], end.inputs[0]
    before = source.producer()
    if last is None or last not in made:
        return "its input is not one of the layers"
    if before is not None and permutation(before) == _TO_CHANNELS_LAST and before.inputs[0] is not None:
        first = before.inputs[0]
    else:
        first = insert(model, members[0], "Transpose", [source], f"{g.label(end)}_first", perm=list(_TO_CHANNELS_FIRST))
        first.type = source.type
    reason = g.bypass(end, last)
    if reason is not None:
        g.drop_unread([first])
        return reason
    for member in members:
        for index, value in enumerate(member.inputs):
            if value is source:
                member.replace_input_with(index, first)
        if not member.outputs[0].is_graph_output():
            member.outputs[0].shape = None
        if member.op_type != "MatMul":
            transpose_constants(model, member, _TO_CHANNELS_FIRST)
    for member in members:
        if member.op_type == "MatMul":
            _convolve(model, member)
    g.drop_unread([source])
    return None


def _convolve(model: ir.Model, matmul: ir.Node) -> None:
    """Writes the MatMul, and the bias added to it, as one Conv."""
    matrix, output = g.array(matmul.inputs[1]), matmul.outputs[0]
    graph = matmul.graph
    if matrix is None or not isinstance(graph, ir.Graph):
        raise TypeError(f"MatMul {g.label(matmul)} has no constant weight")
    name = g.label(matmul)
    kernel = np.ascontiguousarray(matrix.T)[:, :, None, None]
    inputs = [matmul.inputs[0], g.add_initializer(model, graph, f"{name}_kernel", kernel)]
    add, root = g.sole_user(output), matmul
    if add is not None and g.is_op(add, "Add") and add.graph is graph:
        bias = g.array(add.inputs[1] if add.inputs[0] is output else add.inputs[0])
        channels = len(kernel)
        if bias is not None and (bias.size == 1 or bias.shape == (1, channels, 1, 1)):
            vector = np.broadcast_to(bias.reshape(-1), (channels,))
            inputs.append(g.add_initializer(model, graph, f"{name}_bias", vector))
            root = add
    new = insert(model, matmul, "Conv", inputs, f"{name}_conv", kernel_shape=[1, 1])
    reason = replace(root, new)
    if reason is not None:
        raise ValueError(reason)
