"""y = x written as an operator (Identity, Cast to its own type, Transpose by 0,1,2 ...) ==> x.

Each entry of `_NOOPS` says when its operator returns its first input unchanged, from shapes that are certain.
Source: ONNX operator specifications of the operators named.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from deploycompress.passes import graph as g
from deploycompress.passes import views
from deploycompress.passes.base import Findings, PassResult
from deploycompress.passes.shapes import Shapes, infer


@dataclass(frozen=True)
class EliminateNoOps:
    """Removes nodes that return their first input unchanged."""

    exact: ClassVar[bool] = True

    def __call__(self, model: ir.Model) -> PassResult:
        """Rewrites a copy of `model`; refuses nodes that stand between two names the caller sees."""
        found = Findings()
        if not g.contains(model, *_NOOPS):
            return found.result(model, model)
        after = model.clone()
        shapes = infer(after)
        for node in g.nodes(after):
            rule = _NOOPS.get(node.op_type) if g.is_op(node, node.op_type) else None
            if rule is None or not node.inputs or node.inputs[0] is None or not rule(node, shapes):
                continue
            name = g.label(node)
            reason = g.bypass(node, node.inputs[0])
            if reason is None:
                found.changed(name, f"{node.op_type} that changes nothing removed")
            else:
                found.refused(name, reason)
        return found.result(model, after)


def _always(node: ir.Node, shapes: Shapes) -> bool:
    del node, shapes
    return True


def _one_input(node: ir.Node, shapes: Shapes) -> bool:
    del shapes
    return len(node.inputs) == 1


def _cast(node: ir.Node, shapes: Shapes) -> bool:
    return shapes.dtype(node.inputs[0]) == ir.DataType(g.int_attribute(node, "to", 0))


def _cast_like(node: ir.Node, shapes: Shapes) -> bool:
    source, like = shapes.dtype(node.inputs[0]), shapes.dtype(node.inputs[1])
    return source is not None and source == like


def _same_shape(node: ir.Node, shapes: Shapes) -> bool:
    """Reshape, Flatten, Expand, Tile and reductions: output shape certain and equal, or a target that keeps every axis.

    A reduction that leaves the shape as it was summed, averaged or compared one element.
    """
    if views.same(shapes.symbolic(node.inputs[0]), shapes.symbolic(node.outputs[0])):
        return True
    target = g.array(g.input_at(node, 1))
    dims = shapes.of(node.inputs[0])
    if node.op_type == "Expand" and target is not None and dims is not None:
        return len(target) <= len(dims) and bool((target == 1).all())
    if node.op_type != "Reshape" or target is None or dims is None or g.int_attribute(node, "allowzero", 0):
        return False
    known = [t == 0 or t == d for t, d in zip(target.tolist(), dims, strict=False)]
    # One -1 is the axis that is left over: it keeps its length where every other axis keeps its own.
    free = [t for t, same in zip(target.tolist(), known, strict=False) if not same]
    return len(target) == len(dims) and all(dims[i] != 0 for i in range(len(dims))) and free in ([], [-1])


def _neutral(node: ir.Node, shapes: Shapes) -> bool:
    """Times 1, by 1, plus or minus 0, where that broadcasts nothing. Of floats -0 + 0 is +0, so it is + -0 or - +0."""
    tensor = g.constant(node.inputs[1])
    if tensor is None or tensor.nbytes > _LARGEST_NEUTRAL_BYTES:
        return False
    constant = tensor.numpy()
    element = 1 if node.op_type in ("Mul", "Div") else 0
    if constant.dtype.kind not in "fiu" or constant.size == 0 or (constant != element).any():
        return False
    signed = node.op_type in ("Add", "Sub") and constant.dtype.kind == "f"
    if signed and (np.signbit(constant) != (node.op_type == "Add")).any():
        return False
    return not constant.ndim or views.same(shapes.symbolic(node.inputs[0]), shapes.symbolic(node.outputs[0]))


def _unbounded(node: ir.Node, shapes: Shapes) -> bool:
    del shapes
    return not node.attributes and all(value is None for value in node.inputs[1:])


def _one_output(node: ir.Node, shapes: Shapes) -> bool:
    del shapes
    return len(node.outputs) == 1


def _transpose(node: ir.Node, shapes: Shapes) -> bool:
    order = g.ints_attribute(node, "perm")
    rank = shapes.rank(node.inputs[0])
    if order is None:
        return rank is not None and rank <= 1
    return order == sorted(order)


def _dropout(node: ir.Node, shapes: Shapes) -> bool:
    """Inference: by `is_test` up to opset 6, always from 7, unless `training_mode` is given from 12."""
    if "is_test" in node.attributes:
        return g.int_attribute(node, "is_test", 0) == 1
    training = g.input_at(node, 2)
    if training is not None:
        mode = g.array(training)
        return mode is not None and not mode.any()
    return shapes.opset >= 7


def _pad(node: ir.Node, shapes: Shapes) -> bool:
    del shapes
    attribute = g.ints_attribute(node, "pads")
    pads = g.array(g.input_at(node, 1)) if attribute is None else np.asarray(attribute)
    return pads is not None and not pads.any()


def _slice(node: ir.Node, shapes: Shapes) -> bool:
    """Starts at 0, steps by 1, and ends at or past the end of every axis named."""
    starts, ends = g.array(g.input_at(node, 1)), g.array(g.input_at(node, 2))
    dims = shapes.of(node.inputs[0])
    if starts is None or ends is None or dims is None:
        return False
    axes, steps = g.input_at(node, 3), g.input_at(node, 4)
    axis_list = np.arange(len(starts)) if axes is None else g.array(axes)
    step_list = np.ones(len(starts)) if steps is None else g.array(steps)
    if axis_list is None or step_list is None or starts.any() or (step_list != 1).any():
        return False
    lengths = [dims[int(axis)] for axis in axis_list]
    return all(e >= _END or (d is not None and e >= d) for e, d in zip(ends.tolist(), lengths, strict=True))


# Larger ones are weights, which are not read from disk to be looked at.
_LARGEST_NEUTRAL_BYTES = 65536
# An end this large means "to the end" whatever the length (exporters write INT64_MAX, INT32_MAX or close to them).
_END = 2**31 - 1

_NOOPS: dict[str, Callable[[ir.Node, Shapes], bool]] = {
    "Identity": _always,
    "Cast": _cast,
    "CastLike": _cast_like,
    "Concat": _one_input,
    "Sum": _one_input,
    "Max": _one_input,
    "Min": _one_input,
    "Mean": _one_input,
    "Reshape": _same_shape,
    "Flatten": _same_shape,
    "Expand": _same_shape,
    "Tile": _same_shape,
    **dict.fromkeys(("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd"), _same_shape),
    **dict.fromkeys(("Mul", "Div", "Add", "Sub"), _neutral),
    "Clip": _unbounded,
    "Split": _one_output,
    "Transpose": _transpose,
    "Dropout": _dropout,
    "Pad": _pad,
    "Slice": _slice,
}
