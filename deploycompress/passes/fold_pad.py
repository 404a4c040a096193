"""Pad (zeros, spatial axes) -> Conv | AveragePool ==> Conv | AveragePool with larger pads.

A Conv sees zeros outside its input, an AveragePool counts them where count_include_pad=1. MaxPool pads with minus
infinity and cannot take zeros.
Source: ONNX operators Pad (opset 2, 11, 18), Conv, AveragePool.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from deploycompress.passes import graph as g
from deploycompress.passes.base import Findings, PassResult
from deploycompress.passes.shapes import Shapes, infer


@dataclass(frozen=True)
class FoldPad:
    """Folds zero padding into the convolution or average pool after it."""

    exact: ClassVar[bool] = True

    def __call__(self, model: ir.Model) -> PassResult:
        """Rewrites a copy of `model`."""
        found = Findings()
        if not g.contains(model, "Pad"):
            return found.result(model, model)
        after = model.clone()
        shapes = infer(after)
        for node in g.nodes(after):
            if not g.is_op(node, "Pad"):
                continue
            name = g.label(node)
            reason = _fold(node, shapes)
            if reason is None:
                found.changed(name, "Pad folded into the node after it")
            else:
                found.refused(name, reason)
        return found.result(model, after)


def _fold(node: ir.Node, shapes: Shapes) -> str | None:
    user = g.sole_user(node.outputs[0])
    if user is None or not g.is_op(user, "Conv", "AveragePool") or user.inputs[0] is not node.outputs[0]:
        return "it is not read by one Conv or AveragePool alone"
    if user.graph is not node.graph:
        return f"the {user.op_type} after it is in another control-flow body"
    spatial = _spatial_pads(node, shapes)
    if isinstance(spatial, str):
        return spatial
    begin, end = spatial
    if g.string_attribute(user, "auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return f"the {user.op_type} after it computes its own pads (auto_pad)"
    own = g.ints_attribute(user, "pads") or [0] * (2 * len(begin))
    if user.op_type == "AveragePool":
        reason = _pool_obstacle(user, begin + end, own)
        if reason is not None:
            return reason
        user.attributes["count_include_pad"] = ir.AttrInt64("count_include_pad", 1)
    user.attributes.pop("auto_pad", None)
    pads = [a + b for a, b in zip(begin + end, own, strict=True)]
    user.attributes["pads"] = ir.AttrInt64s("pads", pads)
    source = node.inputs[0]
    return "its input is absent" if source is None else g.bypass(node, source)


def _pool_obstacle(pool: ir.Node, pads: list[int], own: list[int]) -> str | None:
    if g.int_attribute(pool, "ceil_mode", 0):
        return "the AveragePool after it rounds its output size up (ceil_mode)"
    if any(own) and not g.int_attribute(pool, "count_include_pad", 0):
        return "the AveragePool after it leaves its own pads out of the average"
    kernel = g.ints_attribute(pool, "kernel_shape") or []
    if any(p + o >= k for p, o, k in zip(pads, own, kernel * 2, strict=True)):
        return "the pads would be as large as the kernel of the AveragePool after it"
    return None


def _spatial_pads(node: ir.Node, shapes: Shapes) -> tuple[list[int], list[int]] | str:
    """(begin, end) pads of the spatial axes, or why the padding is not zeros around them."""
    if g.string_attribute(node, "mode", "constant") != "constant":
        return "it does not pad with a constant"
    fill = g.input_at(node, 2)
    fill_value = g.array(fill)
    if fill is not None and fill_value is None:
        return g.why_not_constant("fill value", fill)
    if g.float_attribute(node, "value", 0.0) != 0 or (fill_value is not None and fill_value.any()):
        return "it pads with something other than zero"
    pads = g.ints_attribute(node, "pads")
    if pads is None:
        data = g.array(g.input_at(node, 1))
        if data is None:
            return g.why_not_constant("pads", g.input_at(node, 1))
        pads = data.tolist()
    axes_value = g.input_at(node, 3)
    rank = len(pads) // 2
    axes = list(range(rank))
    if axes_value is not None:
        data, known = g.array(axes_value), shapes.rank(node.inputs[0])
        if data is None or known is None:
            return "its axes are not known"
        rank, axes = known, [int(axis) % known for axis in data]
    begin, end = [0] * rank, [0] * rank
    for place, axis in enumerate(axes):
        begin[axis], end[axis] = pads[place], pads[place + len(axes)]
    if min(begin + end, default=0) < 0:
        return "it crops"
    if rank < 3 or any(begin[:2]) or any(end[:2]):
        return "it pads the batch or channel axis"
    return begin[2:], end[2:]
