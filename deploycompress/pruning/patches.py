"""node whose inputs were cut -> its own numbers told so: groups, heads, sizes, bounds, targets of views.

Source: the operator specifications of Conv, GroupNormalization, Attention and its kin, Reshape, Expand, Resize, Split,
Slice, Gather and Pad.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deploycompress.passes import graph as g
from deploycompress.pruning.rules.picking import pads, slices

Kept = NDArray[np.bool_]
Cuts = Mapping[str, tuple[Kept, ...]]

_COUNTS = {
    "Conv": (("group", 0, 1),),
    "ConvTranspose": (("group", 0, 1),),
    "GroupNormalization": (("num_groups", 0, 1),),
    "MultiHeadAttention": (("num_heads", 0, 2),),
    "GroupQueryAttention": (("num_heads", 0, 2), ("kv_num_heads", 1, 2)),
    "RotaryEmbedding": (("num_heads", 0, 2),),
}


def patch(model: ir.Model, node: ir.Node, kept: Cuts, shapes: Mapping[str, Sequence[int | None]]) -> None:
    """Changes the attributes and constant inputs of `node`.

    Args:
        model: The copy that is being cut.
        node: One of its nodes.
        kept: What is kept of each value.
        shapes: What was certain of the shapes before, by name.
    """
    for name, index, axis in _COUNTS.get(node.op_type, ()):
        count = g.int_attribute(node, name, 1)
        if count == 1:
            continue
        node.attributes[name] = ir.AttrInt64(name, _scaled(count, _cut(node.inputs[index], kept, axis)))
    if node.op_type == "Attention":
        _attention(node, kept)
    found = _of(node.outputs[0], kept) if node.outputs else None
    if node.op_type in ("Reshape", "Expand", "Resize") and found is not None:
        certain = shapes.get(node.outputs[0].name or "", ())
        _target(model, node, 3 if node.op_type == "Resize" else 1, found, certain)
    elif node.op_type == "Split":
        _split(model, node, kept, shapes)
    elif node.op_type == "Pad" and found is not None:
        _pad(model, node, found)
    elif node.op_type in ("Slice", "Gather") and (before := _of(node.inputs[0], kept)) is not None:
        (_slice if node.op_type == "Slice" else _gather)(model, node, before)


def _of(value: ir.Value | None, kept: Cuts) -> tuple[Kept, ...] | None:
    return None if value is None else kept.get(value.name or "")


def _cut(value: ir.Value | None, kept: Cuts, axis: int) -> Kept:
    found = _of(value, kept)
    return np.ones(1, bool) if found is None else found[axis]


def _scaled(count: int, mask: Kept) -> int:
    """A count of equal parts of an axis, whole ones of which were cut."""
    return count * int(mask.sum()) // mask.size


def _attention(node: ir.Node, kept: Cuts) -> None:
    if node.domain == "com.microsoft":
        mask = _cut(node.inputs[1], kept, 1)
        sizes = g.ints_attribute(node, "qkv_hidden_sizes") or [mask.size // 3] * 3
        parts = np.split(mask, np.cumsum(sizes)[:-1]) if mask.size > 1 else []
        if parts:
            heads = g.int_attribute(node, "num_heads", 1)
            node.attributes["num_heads"] = ir.AttrInt64("num_heads", _scaled(heads, parts[0]))
            node.attributes["qkv_hidden_sizes"] = ir.AttrInt64s("qkv_hidden_sizes", [int(p.sum()) for p in parts])
        return
    for name, index in (("q_num_heads", 0), ("kv_num_heads", 1)):
        if name in node.attributes:
            heads = _scaled(g.int_attribute(node, name, 1), _cut(node.inputs[index], kept, 2))
            node.attributes[name] = ir.AttrInt64(name, heads)


def _target(model: ir.Model, node: ir.Node, index: int, found: tuple[Kept, ...], certain: Sequence[int | None]) -> None:
    """Lengths of the output: a constant says the new ones; of a computed one those that are cut are overridden."""
    value = g.input_at(node, index)
    if value is None:
        return
    cut = np.asarray([not mask.all() for mask in found])
    old = g.array(value)
    if old is not None:
        new = old.copy()
        for axis in np.flatnonzero(cut):
            if old[axis] > 1:  # 0 and -1 follow by themselves
                new[axis] = found[axis].sum()
        _set(model, node, index, new)
        return
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    before = certain or [None] * len(found)
    lengths = [int(m.sum()) if length == m.size else -1 for m, length in zip(found, before, strict=True)]
    taken = g.names(model)
    where = g.new_initializer(graph, f"{g.label(node)}_cut", cut, taken)
    fixed = g.new_initializer(graph, f"{g.label(node)}_lengths", np.asarray(lengths, np.int64), taken)
    output = ir.Value(name=g.claimed(f"{g.label(node)}_target", taken), type=ir.TensorType(ir.DataType.INT64))
    graph.insert_before(node, ir.Node("", "Where", [where, fixed, value], outputs=[output]))
    node.replace_input_with(index, output)


def _split(model: ir.Model, node: ir.Node, kept: Cuts, shapes: Mapping[str, Sequence[int | None]]) -> None:
    found = _of(node.inputs[0], kept)
    if found is None:
        return
    axis = g.int_attribute(node, "axis", 0) % len(found)
    if found[axis].all():
        return
    sizes = []
    for output in node.outputs:
        part = _of(output, kept)
        length = part[axis].sum() if part is not None else shapes[output.name or ""][axis]
        sizes.append(int(length or 0))
    if "split" in node.attributes:
        node.attributes["split"] = ir.AttrInt64s("split", sizes)
        return
    node.attributes.pop("num_outputs", None)
    _set(model, node, 1, np.asarray(sizes, np.int64))


def _slice(model: ir.Model, node: ir.Node, before: tuple[Kept, ...]) -> None:
    ranges = slices(node, [mask.size for mask in before])
    if ranges is None:
        return
    bounds = {axis: (start, end) for axis, (start, end, _) in ranges.items()}
    moved = {
        axis: (int(before[axis][:start].sum()), int(before[axis][:end].sum()))
        for axis, (start, end) in bounds.items()
        if not before[axis].all()
    }
    axes = g.array(g.input_at(node, 3))
    order = (
        [int(axis) % len(before) for axis in axes]
        if axes is not None
        else [axis % len(before) for axis in g.ints_attribute(node, "axes") or range(len(bounds))]
    )
    for side in (0, 1):
        name = ("starts", "ends")[side]
        old = g.ints_attribute(node, name) if name in node.attributes else None
        given = old if old is not None else [int(i) for i in _array(node, 1 + side)]
        new = [moved[axis][side] if axis in moved else value for axis, value in zip(order, given, strict=True)]
        if old is not None:
            node.attributes[name] = ir.AttrInt64s(name, new)
        else:
            _set(model, node, 1 + side, np.asarray(new, _array(node, 1 + side).dtype))


def _gather(model: ir.Model, node: ir.Node, before: tuple[Kept, ...]) -> None:
    axis = g.int_attribute(node, "axis", 0) % len(before)
    indices = g.array(node.inputs[1])
    if indices is None or before[axis].all():
        return
    places = np.cumsum(before[axis]) - 1
    wanted = indices % before[axis].size
    left = wanted[before[axis][wanted]] if indices.ndim else wanted
    _set(model, node, 1, places[left].astype(indices.dtype))


def _pad(model: ir.Model, node: ir.Node, after: tuple[Kept, ...]) -> None:
    rank = len(after)
    widths = pads(node, rank)
    assert widths is not None
    new = [
        (int(mask[:low].sum()), int(mask[mask.size - high :].sum()))
        for mask, (low, high) in zip(after, widths, strict=True)
    ]
    flat = [low for low, _ in new] + [high for _, high in new]
    if "pads" in node.attributes:
        node.attributes["pads"] = ir.AttrInt64s("pads", flat)
        return
    axes = g.array(g.input_at(node, 3))
    if axes is not None:
        order = [int(axis) % rank for axis in axes]
        flat = [new[axis][0] for axis in order] + [new[axis][1] for axis in order]
    _set(model, node, 1, np.asarray(flat, np.int64))


def _array(node: ir.Node, index: int) -> NDArray[np.int64]:
    found = g.array(g.input_at(node, index))
    assert found is not None
    return found.ravel()


def _set(model: ir.Model, node: ir.Node, index: int, data: NDArray[np.generic]) -> None:
    g.set_weight(model, node, index, f"{g.label(node)}_{node.op_type.lower()}", np.asarray(data))
