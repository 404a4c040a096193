"""float graph + half plan -> graph in float16 or bfloat16; inputs and outputs of the model stay float32.

Each value lives in one type, that of the node that makes it, and is cast at most once for all who need the other. Nodes
that only move values take the type their input has, so no pair of casts lies around them. What stays float32, in bodies
of control flow too, reads weights that are stored in half and cast when the model is loaded. They are converted when
the file is written, one at a time.

Source: ONNX operator Cast; ONNX Runtime folds a Cast of a constant when the model is loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from deploycompress.passes import shapes
from deploycompress.quantization.candidates import constant, key
from deploycompress.quantization.half import EXCLUDED, LARGEST, MIN_OPSET, MOVERS, fits
from deploycompress.quantization.half_types import halves, is_float32
from deploycompress.quantization.qdq import require_opset
from deploycompress.quantization.spec import QuantPlan
from deploycompress.quantization.writer import Writer, matrix, prune_initializers

_WORTH_BYTES = 256  # a Cast and a name take about as much


@dataclass
class _Conversion:
    """One graph on its way.

    Attributes:
        writer: Adds to it.
        types: Element types before.
        half: FLOAT16 or BFLOAT16.
        halved: Values that live in half now.
        casts: The other form of a value, by value.
    """

    writer: Writer
    types: shapes.Shapes
    half: ir.DataType
    halved: set[ir.Value] = field(default_factory=set)
    casts: dict[ir.Value, ir.Value] = field(default_factory=dict)


def emit_half(model: ir.Model, plan: QuantPlan, half: ir.DataType, *, compute: bool) -> ir.Model:
    """A copy of `model` in half precision.

    Args:
        model: The float graph.
        plan: Says which nodes.
        half: FLOAT16 or BFLOAT16.
        compute: Whether the nodes compute in half, or only their weights are stored so.

    Raises:
        UnsupportedError: The opset is older than 13.
    """
    require_opset(model, MIN_OPSET)
    copy = model.clone()
    doing = _Conversion(Writer(copy.graph), shapes.infer(copy), half)
    if compute:
        for node in list(copy.graph):
            planned = plan.nodes.get(key(node))
            if planned is not None and planned.form != "float" and _may_follow(node, doing):
                _convert(doing, node)
            else:
                _restore(doing, node)
        _keep_outputs(doing, copy.graph)
        _keep_captures(doing, copy.graph)
    kept = {name for name, planned in plan.nodes.items() if planned.form == "float" and planned.reason == EXCLUDED}
    for graph in (copy.graph, *copy.graph.subgraphs()):
        _store(graph, doing, kept)
    prune_initializers(copy.graph)
    return copy


def _may_follow(node: ir.Node, doing: _Conversion) -> bool:
    """Whether a node that only moves values finds its input in half; others compute where they are told."""
    source = node.inputs[0] if node.inputs else None
    return node.op_type not in MOVERS or source is None or source in doing.halved or constant(source) is not None


def _convert(doing: _Conversion, node: ir.Node) -> None:
    """Makes a node compute in half."""
    takes = [_computes(value, doing) for value in node.inputs]
    gives = [_computes(value, doing) for value in node.outputs]
    found = halves(node, doing.types.opset, doing.half, takes, gives)
    for place, value in enumerate(node.inputs):
        if value is None or not takes[place]:
            continue
        if place not in found.inputs:
            node.replace_input_with(place, _cast(doing, value) if value in doing.halved else value)
        elif value not in doing.halved:
            tensor = constant(value)
            node.replace_input_with(place, _cast(doing, value) if tensor is None else _stored(doing, value, tensor))
    for place in found.outputs:
        node.outputs[place].type = ir.TensorType(doing.half)  # the old type object belongs to the copied graph too
        doing.halved.add(node.outputs[place])
    if node.op_type == "Cast" and found.outputs:
        node.attributes["to"] = ir.AttrInt64("to", doing.half.value)
    if node.op_type in ("Constant", "ConstantOfShape") and found.outputs:
        _halve_attribute(node, doing)


def _restore(doing: _Conversion, node: ir.Node) -> None:
    """Gives a node that stays float32 its inputs in float32."""
    for place, value in enumerate(node.inputs):
        if value is not None and value in doing.halved:
            node.replace_input_with(place, _cast(doing, value))


def _store(graph: ir.Graph, doing: _Conversion, kept: set[str]) -> None:
    """Stores the float32 constants of a graph in half, each with a Cast that is folded when the model is loaded."""
    first = next(iter(graph), None)
    for value in list(graph.initializers.values()):
        tensor, name = constant(value), str(value.name)
        uses = list(value.uses())
        if tensor is None or first is None or value.is_graph_output() or not _is_worth(tensor, doing.half):
            continue
        if not uses or any(key(use.node) in kept for use in uses):  # which keeps it in the file anyway
            continue
        stored, shape = doing.writer.name(f"{name}_half"), ir.Shape(tensor.shape.numpy())
        made = ir.val(stored, dtype=doing.half, shape=shape, const_value=_half_tensor(tensor, doing.half, stored))
        graph.register_initializer(made)
        cast = ir.node("Cast", [made], {"to": ir.DataType.FLOAT})
        graph.insert_before(first, cast)
        _read_from(cast.outputs[0], uses, shape)
        del graph.initializers[name]
        cast.outputs[0].name = name
    for node in list(graph):
        value = node.outputs[0]
        if node.op_type != "Constant" or "value" not in node.attributes or value.is_graph_output():
            continue
        tensor, uses = node.attributes["value"].as_tensor(), list(value.uses())
        if _is_worth(tensor, doing.half):
            _halve_attribute(node, doing)
            value.type = ir.TensorType(doing.half)
            cast = ir.node("Cast", [value], {"to": ir.DataType.FLOAT})
            graph.insert_after(node, cast)
            cast.outputs[0].name = doing.writer.name(f"{value.name}_float")
            _read_from(cast.outputs[0], uses, ir.Shape(tensor.shape.numpy()))


def _read_from(value: ir.Value, uses: Sequence[tuple[ir.Node, int]], shape: ir.Shape) -> None:
    """Makes these readers read a float32 `value` instead."""
    value.dtype, value.shape = ir.DataType.FLOAT, shape
    for node, place in uses:
        node.replace_input_with(place, value)


def _is_worth(tensor: ir.TensorProtocol, half: ir.DataType) -> bool:
    return tensor.dtype == ir.DataType.FLOAT and tensor.nbytes >= _WORTH_BYTES and fits(tensor, half)


def _halve_attribute(node: ir.Node, doing: _Conversion) -> None:
    """The value of a Constant or ConstantOfShape in half; the latter fills with 0 where nothing is said."""
    given = node.attributes.get("value")
    tensor = ir.tensor(np.zeros(1, np.float32)) if given is None else given.as_tensor()
    node.attributes["value"] = ir.AttrTensor("value", _half_tensor(tensor, doing.half, tensor.name or ""))


def _stored(doing: _Conversion, value: ir.Value, tensor: ir.TensorProtocol) -> ir.Value:
    """The constant in half, for all who read it so."""
    if value not in doing.casts:
        name = doing.writer.name(f"{value.name}_{doing.half.name.lower()}")
        shape = ir.Shape(tensor.shape.numpy())
        made = ir.val(name, dtype=doing.half, shape=shape, const_value=_half_tensor(tensor, doing.half, name))
        doing.writer.graph.register_initializer(made)
        doing.casts[value] = made
        doing.halved.add(made)
    return doing.casts[value]


def _half_tensor(tensor: ir.TensorProtocol, half: ir.DataType, name: str) -> ir.TensorProtocol:
    """Rounded to nearest when it is read; what is finite stays finite."""

    def rounded() -> ir.TensorProtocol:
        values = matrix(tensor, transposed=False)
        if half == ir.DataType.FLOAT16:
            values = np.where(np.isfinite(values), np.clip(values, -LARGEST, LARGEST), values)
        return ir.Tensor(values.astype(half.numpy()), dtype=half, name=name)

    return ir.LazyTensor(rounded, half, ir.Shape(tensor.shape.numpy()), name=name)


def _cast(doing: _Conversion, value: ir.Value) -> ir.Value:
    """`value` in the other type."""
    if value not in doing.casts:
        to = ir.DataType.FLOAT if value in doing.halved else doing.half
        name = f"{value.name}_{to.name.lower()}"
        attributes = {"to": to}
        made = doing.writer.node(
            "Cast", [value], [name], after=value.producer(), attributes=attributes, dtype=to, shape=value.shape
        )
        doing.casts[value] = made.outputs[0]
        if to == doing.half:
            doing.halved.add(made.outputs[0])
    return doing.casts[value]


def _keep_outputs(doing: _Conversion, graph: ir.Graph) -> None:
    """Graph outputs stay float32 under their names."""
    for place, value in enumerate(graph.outputs):
        if value not in doing.halved:
            continue
        name = str(value.name)
        value.name = doing.writer.name(f"{name}_half")
        producer = value.producer()
        made = doing.writer.node("Cast", [value], [f"{name}_out"], after=producer, attributes={"to": ir.DataType.FLOAT})
        out = made.outputs[0]
        out.dtype, out.shape = ir.DataType.FLOAT, value.shape
        graph.outputs[place] = out
        out.name = name


def _keep_captures(doing: _Conversion, graph: ir.Graph) -> None:
    """What graphs inside control flow read from outside stays float32."""
    for value in list(doing.halved):
        for use in list(value.uses()):
            if use.node.graph is not graph and use.node.op_type != "Cast":
                use.node.replace_input_with(use.idx, _cast(doing, value))


def _computes(value: ir.Value | None, doing: _Conversion) -> bool:
    """Whether a value is float32 in the graph as given."""
    return value in doing.halved or is_float32(value, doing.types)
