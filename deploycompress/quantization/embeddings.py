"""Gather(table, ids) ==> Cast(Gather(codes, ids)) * Gather(scales, ids): 8-bit lookup tables with a scale a row.

    table [V, H] float32  ==>  codes [V, H] int8, scales [V, 1] float32,  row = scale * code

A lookup table is most of a small encoder's file and none of its time. One scale for the whole table would spend its
range on the largest row; a scale a row costs 4 bytes in H and leaves a fifteenth of that error (docs/results.md). Only
the rows that are looked up are turned back to float, with standard operators that every runtime has.

Source: ONNX operators Gather, Cast, Mul.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from deploycompress.quantization.affine import symmetric_codes, symmetric_scale
from deploycompress.quantization.candidates import constant, key
from deploycompress.quantization.spec import NodePlan, QuantPlan, WeightSpec
from deploycompress.quantization.writer import Writer, matrix

_WORTH_BYTES = 1 << 16  # the three nodes more cost several microseconds on every run


def plan_tables(model: ir.Model, exclude: frozenset[str] = frozenset()) -> dict[str, NodePlan]:
    """What becomes of every lookup in a constant float table of the main graph, by first output name.

    Args:
        model: The float graph.
        exclude: First output names of nodes the user keeps float.
    """
    plans = {}
    for node in model.graph:
        tensor = constant(node.inputs[0]) if _is_lookup(node) else None
        if tensor is None or tensor.dtype != ir.DataType.FLOAT:
            continue
        refusal = "excluded by the user" if key(node) in exclude else _why_float(node, tensor, exclude)
        saved = tensor.size * 3 - 4 * tensor.shape.numpy()[0]
        if not refusal and saved < _WORTH_BYTES:
            refusal = f"8-bit rows would save {max(0, saved):,} bytes, which is not worth three nodes more"
        reason = f"8-bit rows with a scale each save {saved:,} bytes"
        spec = None if refusal else WeightSpec(bits=8, block=int(tensor.shape.numpy()[-1]))
        form = "float" if refusal else "weight-only"
        plans[key(node)] = NodePlan(key(node), node.name or "", "Gather", form, refusal or reason, weight=spec)  # type: ignore[arg-type]
    return plans


def write_tables(writer: Writer, plan: QuantPlan) -> None:
    """Replaces the lookups that `plan` stores in 8 bits; lookups in one table share its codes."""
    stored: dict[ir.Value, tuple[ir.Value, ir.Value]] = {}
    for node in list(writer.graph):
        planned = plan.nodes.get(key(node))
        if planned is None or planned.op_type != "Gather" or planned.form != "weight-only":
            continue
        table = node.inputs[0]
        assert table is not None
        assert table.const_value is not None
        if table not in stored:
            stored[table] = _stored(writer, str(table.name), table.const_value)
        _rewrite(writer, node, *stored[table])


def _stored(writer: Writer, stem: str, table: ir.TensorProtocol) -> tuple[ir.Value, ir.Value]:
    """Initializers for the codes [V, H] and the scales [V, 1] of one table, computed when the file is written."""

    def scale(name: str) -> ir.TensorProtocol:
        return ir.tensor(symmetric_scale(matrix(table, transposed=False), 0)[:, None], name=name)

    def codes(name: str) -> ir.TensorProtocol:
        assert scales.const_value is not None
        values = matrix(table, transposed=False)
        return ir.tensor(symmetric_codes(values, scales.const_value.numpy()[:, 0], 0), name=name)

    rows, width = table.shape.numpy()
    stored = writer.lazy(f"{stem}_quantized", ir.DataType.INT8, (rows, width), codes)
    scales = writer.lazy(f"{stem}_scale", ir.DataType.FLOAT, (rows, 1), scale, kept=True)
    return stored, scales


def _rewrite(writer: Writer, node: ir.Node, codes: ir.Value, scales: ir.Value) -> None:
    """Gather in front of `node`, whose output name the product takes over."""
    out = node.outputs[0]
    float_type = {"to": ir.DataType.FLOAT}
    picked = writer.node("Gather", [codes, node.inputs[1]], [f"{out.name}_codes"], before=node)
    row = writer.node("Cast", [picked.outputs[0]], [f"{out.name}_unscaled"], before=node, attributes=float_type)
    scale = writer.node("Gather", [scales, node.inputs[1]], [f"{out.name}_scale"], before=node)
    product = writer.node("Mul", [row.outputs[0], scale.outputs[0]], [f"{out.name}_row"], before=node)
    final, name = product.outputs[0], out.name
    final.dtype, final.shape = ir.DataType.FLOAT, out.shape
    out.replace_all_uses_with(final, replace_graph_outputs=True)
    writer.graph.remove(node, safe=True)
    final.name = name


def _is_lookup(node: ir.Node) -> bool:
    axis = node.attributes.get("axis")
    return node.op_type == "Gather" and node.domain in ("", "ai.onnx") and (axis is None or axis.value == 0)


def _can_read_codes(reader: ir.Node, beside: ir.Node, exclude: frozenset[str]) -> bool:
    """Whether a reader of the table of the lookup `beside` looks up too, and may take codes."""
    free = _is_lookup(reader) and constant(reader.inputs[1]) is None and key(reader) not in exclude
    return free and reader.graph is beside.graph


def _why_float(node: ir.Node, table: ir.TensorProtocol, exclude: frozenset[str]) -> str:
    value = node.inputs[0]
    assert value is not None
    if constant(node.inputs[1]) is not None:
        return "its indices are constant"
    if len(table.shape) != 2:
        return f"the table has {len(table.shape)} axes, not rows and columns"
    others = sorted({use.node.op_type for use in value.uses() if not _can_read_codes(use.node, node, exclude)})
    if others or value.is_graph_output():
        return f"the table is also read by {', '.join(others) or 'the caller'}, which needs it in float"
    values = matrix(table, transposed=False)
    if not all(np.isfinite(row).all() for row in values):
        return "the table holds NaN or infinity"
    return ""
