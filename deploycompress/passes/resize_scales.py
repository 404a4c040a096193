"""Resize(x, sizes computed from the shape of x) ==> Resize(x, constant scales).

Exporters ask for a size and compute it at run time: the free axes from Shape(x), the others known. Scales say the same
without the arithmetic, and with them ONNX Runtime keeps its blocked channel layout through a Resize. Scale = size /
length must be exact in float32, so that length * scale gives the size back and no coordinate moves.
Source: ONNX operator Resize (opset 11-19): "output_dimension = floor(input_dimension * scale)".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from deploycompress.passes import graph as g
from deploycompress.passes.base import Findings, PassResult
from deploycompress.passes.shapes import Shapes, infer


@dataclass(frozen=True)
class ResizeByScales:
    """Gives a Resize constant scales instead of computed sizes."""

    exact: ClassVar[bool] = True

    def __call__(self, model: ir.Model) -> PassResult:
        """Rewrites a copy of `model`."""
        found = Findings()
        if not g.contains(model, "Resize"):
            return found.result(model, model)
        after = model.clone()
        shapes = infer(after)
        for node in g.nodes(after):
            if not g.is_op(node, "Resize") or g.input_at(node, 3) is None:
                continue
            scales = _scales(node, shapes)
            if isinstance(scales, str):
                found.refused(g.label(node), scales)
                continue
            _write(after, node, scales)
            found.changed(g.label(node), f"sizes written as scales {', '.join(f'{s:g}' for s in scales)}")
        return found.result(model, after)


def _scales(node: ir.Node, shapes: Shapes) -> list[float] | str:
    """One scale for each axis of the input, or why they are not known."""
    if g.string_attribute(node, "keep_aspect_ratio_policy", "stretch") != "stretch" or "axes" in node.attributes:
        return "it keeps the aspect ratio, or names its axes"
    if g.string_attribute(node, "coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize":
        return "it crops (tf_crop_and_resize)"
    dims, sizes = shapes.of(node.inputs[0]), _sizes(g.input_at(node, 3), node.inputs[0], shapes)
    if dims is None or sizes is None or len(sizes) != len(dims):
        return "its sizes are not known axis by axis"
    scales = []
    for axis, (length, size) in enumerate(zip(dims, sizes, strict=True)):
        if isinstance(size, _Axis):
            if size.number != axis:
                return f"the size of axis {axis} is the length of axis {size.number}"
            scales.append(1.0)
        elif not length or size < 1:
            return f"the length of axis {axis} is not known"
        else:
            scale = float(np.float32(size / length))
            if scale * length != size:
                return f"{size} is not an exact multiple of {length} (axis {axis})"
            scales.append(scale)
    return scales


@dataclass(frozen=True)
class _Axis:
    """The length of an axis of the Resize input, whatever it is at run time."""

    number: int


def _sizes(value: ir.Value | None, image: ir.Value | None, shapes: Shapes) -> list[int | _Axis] | None:
    """What an int64 vector holds: numbers, or lengths of axes of `image`; None where anything else is in it."""
    data = g.array(value)
    if data is not None:
        return [int(number) for number in data.ravel()]
    node = None if value is None else value.producer()
    if node is None:
        return None
    if g.is_op(node, "Shape") and node.inputs[0] is image:
        rank = shapes.rank(image)
        axes = list(range(rank or 0))
        end = node.attributes.get("end")
        axes = axes[g.int_attribute(node, "start", 0) : len(axes) if end is None else end.as_int()]
        return None if rank is None else [_Axis(axis) for axis in axes]
    if g.is_op(node, "Concat"):
        parts = [_sizes(part, image, shapes) for part in node.inputs]
        return None if None in parts else [size for part in parts if part is not None for size in part]
    whole = _sizes(node.inputs[0], image, shapes) if g.is_op(node, "Slice", "Gather", "Unsqueeze", "Cast") else None
    if whole is None:
        return None
    if g.is_op(node, "Slice"):
        return _sliced(node, whole)
    if g.is_op(node, "Gather"):
        picked = g.array(node.inputs[1])
        inside = picked is not None and all(-len(whole) <= index < len(whole) for index in picked.ravel())
        return [whole[int(index)] for index in picked.ravel()] if inside and picked is not None else None
    return whole  # Unsqueeze of one length, Cast between integers


def _sliced(node: ir.Node, whole: list[int | _Axis]) -> list[int | _Axis] | None:
    bounds = [g.array(g.input_at(node, index)) for index in (1, 2)]
    step = g.array(g.input_at(node, 4))
    if any(bound is None or bound.size != 1 for bound in bounds) or (g.input_at(node, 4) is not None and step is None):
        return None
    begin, end = (int(bound.reshape(())) for bound in bounds if bound is not None)
    return whole[begin : end : 1 if step is None else int(step.reshape(()))]


def _write(model: ir.Model, node: ir.Node, scales: list[float]) -> None:
    graph = node.graph
    if not isinstance(graph, ir.Graph):
        raise TypeError(f"node {g.label(node)} is not in a graph")
    old = [node.inputs[2], node.inputs[3]]
    value = g.add_initializer(model, graph, f"{g.label(node)}_scales", np.asarray(scales, np.float32))
    node.replace_input_with(2, value)
    node.resize_inputs(3)
    g.drop_unread(old)
