"""Pad (spatial axes) -> Conv | AveragePool | MaxPool ==> Conv | AveragePool | MaxPool with larger pads.

A Conv sees zeros outside its input and so does an AveragePool with count_include_pad=1; a MaxPool sees minus infinity,
which zeros cannot be told from where the input is never negative. ONNX Runtime does this for float models when it loads
them; a Pad that gets Q and DQ around it stays.
Source: ONNX operators Pad (opset 2, 11, 18), Conv, AveragePool, MaxPool.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from deploycompress.passes import graph as g
from deploycompress.passes.base import Findings, PassResult
from deploycompress.passes.merge_clamps import clamp
from deploycompress.passes.shapes import Shapes, infer


@dataclass(frozen=True)
class FoldPad:
    """Folds padding into the convolution or pool after it."""

    exact: ClassVar[bool] = True

    def __call__(self, model: ir.Model) -> PassResult:
        """Rewrites a copy of `model`."""
        found = Findings()
        if g.opset(model) < 7 or not g.contains(model, "Pad"):
            return found.result(model, model)  # before opset 7 no AveragePool counted its padding
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


@dataclass(frozen=True)
class _Padding:
    """How many elements a Pad adds before and after each spatial axis, and of what value."""

    begin: list[int]
    end: list[int]
    fill: float


def _fold(node: ir.Node, shapes: Shapes) -> str | None:
    user, source = g.sole_user(node.outputs[0]), node.inputs[0]
    if user is None or not g.is_op(user, "Conv", "AveragePool", "MaxPool") or user.inputs[0] is not node.outputs[0]:
        return "it is not read by one Conv, AveragePool or MaxPool alone"
    if user.graph is not node.graph:
        return f"the {user.op_type} after it is in another control-flow body"
    padding = _padding(node, shapes)
    if isinstance(padding, str):
        return padding
    if source is None:
        return "its input is absent"
    automatic = g.string_attribute(user, "auto_pad", "NOTSET")
    if automatic not in ("NOTSET", "VALID"):
        return f"the {user.op_type} after it computes its own pads (auto_pad)"
    own = (g.ints_attribute(user, "pads") if automatic == "NOTSET" else None) or [0] * (2 * len(padding.begin))
    pads = [a + b for a, b in zip(padding.begin + padding.end, own, strict=True)]
    reason = _fill_obstacle(user, padding.fill, source) or (
        None if user.op_type == "Conv" else _pool_obstacle(user, pads, own)
    )
    if reason is not None:
        return reason
    operands = node.inputs[1:]
    reason = g.bypass(node, source)
    if reason is not None:
        return reason
    g.drop_unread(operands)
    if user.op_type == "AveragePool":
        user.attributes["count_include_pad"] = ir.AttrInt64("count_include_pad", 1)
    user.attributes.pop("auto_pad", None)
    user.attributes["pads"] = ir.AttrInt64s("pads", pads)
    return None


def _fill_obstacle(user: ir.Node, fill: float, source: ir.Value) -> str | None:
    """Why `user` would see other values in its own padding than `fill`, or None."""
    if user.op_type != "MaxPool":
        return None if fill == 0 else f"it pads with {fill:g}, and a {user.op_type} pads with zeros"
    if fill <= float(np.finfo(np.float32).min):
        return None
    before = clamp(source.producer())
    if fill == 0 and before is not None and before.low >= 0:
        return None  # every window of a pool holds an element of the input, and none of these is below zero
    return f"it pads with {fill:g}, and a MaxPool pads with minus infinity"


def _pool_obstacle(pool: ir.Node, pads: list[int], own: list[int]) -> str | None:
    name = pool.op_type
    if g.int_attribute(pool, "ceil_mode", 0):
        return f"the {name} after it rounds its output size up (ceil_mode)"
    if name == "AveragePool" and any(own) and not g.int_attribute(pool, "count_include_pad", 0):
        return "the AveragePool after it leaves its own pads out of the average"
    if len([output for output in pool.outputs if output.name]) > 1:
        return "the MaxPool after it also gives positions, which count the padding"
    if any(dilation != 1 for dilation in g.ints_attribute(pool, "dilations") or []):
        return f"the {name} after it is dilated, so that a window may hold padding alone"
    kernel = g.ints_attribute(pool, "kernel_shape") or []
    if any(pad >= length for pad, length in zip(pads, kernel * 2, strict=True)):
        return f"the pads would be as large as the kernel of the {name} after it"
    return None


def _padding(node: ir.Node, shapes: Shapes) -> _Padding | str:
    """What a Pad adds around the spatial axes, or why it is not a constant there."""
    if g.string_attribute(node, "mode", "constant") != "constant":
        return "it does not pad with a constant"
    fill_value = g.input_at(node, 2)
    fill = g.array(fill_value)
    if fill_value is not None and (fill is None or fill.size != 1):
        return g.why_not_constant("fill value", fill_value)
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
    number = g.float_attribute(node, "value", 0.0) if fill is None else float(fill.reshape(()))
    return _Padding(begin[2:], end[2:], number)
