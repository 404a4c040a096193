"""model -> what is certain about every value: element type and shape, inferred afresh from the graph inputs.

Shapes written in the file for intermediate values are ignored: exporters leave stale ones, and ONNX Runtime only warns
about them. Those of graph inputs are kept: the runtime refuses a feed that breaks a fixed dimension. A symbol of the
file proves nothing (two axes of one symbol may differ at run time), so every free axis of every input gets a symbol of
its own: where inference finds one of those on another axis, the two lengths are equal on every run.

Source: ONNX IR specification, "Static tensor shapes"; inference by `onnx.shape_inference` with data propagation.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx
import onnx_ir as ir

from deploycompress.passes import graph as g
from deploycompress.passes.weightless import weightless

Length = int | str | None
"""Of an axis: known; equal to that of every axis with the same symbol; or unknown."""


@dataclass(frozen=True)
class Shapes:
    """Inferred facts about the values of the model they were inferred from.

    Attributes:
        lengths: One `Length` per axis; values of unknown rank are absent.
        dtypes: Element type of dense tensors.
        opset: Version of the standard operator set.
        problem: Why inference failed (nothing but the graph inputs is known then), or "".
    """

    lengths: dict[ir.Value, tuple[Length, ...]]
    dtypes: dict[ir.Value, ir.DataType]
    opset: int = 0
    problem: str = ""

    def symbolic(self, value: ir.Value | None) -> tuple[Length, ...] | None:
        """One `Length` per axis; None where the rank is unknown."""
        if value is None:
            return None
        tensor = g.constant(value)
        return tuple(tensor.shape.numpy()) if tensor is not None else self.lengths.get(value)

    def of(self, value: ir.Value | None) -> tuple[int | None, ...] | None:
        """One int or None per axis; None where the rank is unknown."""
        lengths = self.symbolic(value)
        return None if lengths is None else tuple(d if isinstance(d, int) else None for d in lengths)

    def static(self, value: ir.Value | None) -> tuple[int, ...] | None:
        """The shape where every axis is known."""
        dims = self.of(value)
        if dims is None:
            return None
        known = tuple(d for d in dims if d is not None)
        return known if len(known) == len(dims) else None

    def rank(self, value: ir.Value | None) -> int | None:
        """The number of axes where it is known."""
        dims = self.of(value)
        return None if dims is None else len(dims)

    def dtype(self, value: ir.Value | None) -> ir.DataType | None:
        """The element type where it is known."""
        if value is None:
            return None
        tensor = g.constant(value)
        return tensor.dtype if tensor is not None else self.dtypes.get(value)

    def copy(self, source: ir.Value, to: ir.Value) -> None:
        """States that `to`, a new value, has the type and shape of `source`."""
        if source in self.lengths:
            self.lengths[to] = self.lengths[source]
        if source in self.dtypes:
            self.dtypes[to] = self.dtypes[source]


def infer(model: ir.Model) -> Shapes:
    """Runs shape inference without the weights, and returns what it proves about the values of `model`."""
    proto, problem = weightless(model), ""
    try:
        proto = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError) as error:
        problem = " ".join(str(error).split())
    shapes = Shapes({}, {}, g.opset(model), problem)
    _read(model.graph, proto.graph, shapes)
    return shapes


def _read(graph: ir.Graph, proto: onnx.GraphProto, shapes: Shapes) -> None:
    """Reads types by name, graph by graph: a body may use a name of another body."""
    types = {info.name: info.type.tensor_type for info in (*proto.value_info, *proto.input, *proto.output)}
    for value in (*graph.inputs, *(o for n in graph for o in n.outputs)):
        found = types.get(value.name or "")
        if found is not None and found.elem_type:
            read_type(value, found, shapes)
    for node, twin in zip(graph, proto.node, strict=True):
        for attribute in twin.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                _read(node.attributes[attribute.name].as_graph(), attribute.g, shapes)
            elif attribute.type == onnx.AttributeProto.GRAPHS:
                bodies = node.attributes[attribute.name].as_graphs()
                for body, inner in zip(bodies, attribute.graphs, strict=True):
                    _read(body, inner, shapes)


def read_type(value: ir.Value, found: onnx.TypeProto.Tensor, shapes: Shapes) -> None:
    """Adds the type and shape that inference found for `value`; a length already known is kept where it found none."""
    shapes.dtypes[value] = ir.DataType(found.elem_type)
    if not found.HasField("shape"):
        return
    before = shapes.lengths.get(value)
    lengths = [d.dim_value if d.HasField("dim_value") else d.dim_param or None for d in found.shape.dim]
    if before is not None and len(before) == len(lengths):
        lengths = [
            known if length is None or isinstance(known, int) else length
            for length, known in zip(lengths, before, strict=True)
        ]
    shapes.lengths[value] = tuple(lengths)
