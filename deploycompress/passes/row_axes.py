"""[B, S, H] <-> [B*S, H]: the Reshapes at the border, their targets written once a model.

A target has room for one length that is not a constant (-1). Where two lengths are free, the first is read from the
graph input whose axis has that symbol. Source: ONNX operators Reshape, Shape (opset 15: start, end), Concat.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from deploycompress.passes import graph as g
from deploycompress.passes.shapes import Length, Shapes

MIN_OPSET = 15  # Shape with `start` and `end`


class RowAxes:
    """Writes the Reshapes of one model; equal ones once."""

    def __init__(self, model: ir.Model, shapes: Shapes) -> None:
        self._graph, self._shapes = model.graph, shapes
        self._taken = g.names(model)
        self._flat: dict[ir.Value, ir.Value] = {}
        self._targets: dict[tuple[int | str, ...], ir.Value] = {}
        self._axes = {
            length: (value, axis)
            for value in reversed(model.graph.inputs)
            for axis, length in enumerate(shapes.symbolic(value) or ())
            if isinstance(length, str)
        }

    def restorable(self, lengths: Sequence[Length]) -> bool:
        """Whether a Reshape can name these lengths: at most two are free, and the first of two is that of an input."""
        free = [length for length in lengths if not isinstance(length, int)]
        return None not in free and 0 not in lengths and len(free) <= 2 and (len(free) < 2 or free[0] in self._axes)

    def flat(self, value: ir.Value, before: ir.Node) -> ir.Value:
        """`value` as a matrix of rows, for `before` and what comes after; a Reshape that made it is passed over."""
        if value not in self._flat:
            lengths = self._shapes.symbolic(value) or ()
            producer = value.producer()
            source = producer.inputs[0] if producer is not None and g.is_op(producer, "Reshape") else None
            inner = self._shapes.symbolic(source)
            if source is not None and inner is not None and len(inner) == 2 and inner[1] == lengths[-1]:
                self._flat[value] = source
            else:
                target = self.target(("rows", lengths[-1]))
                node = self._node("Reshape", [source or value, target], [], f"{value.name}_rows")
                node.outputs[0].type = value.type
                self._graph.insert_before(before, node)
                self._flat[value] = node.outputs[0]
        return self._flat[value]

    def back(self, output: ir.Value, lengths: Sequence[Length]) -> ir.Value:
        """`output`, which is a matrix now, with its axes; a graph output hands its name on."""
        node = self._node("Reshape", [output, self.target(lengths)], [], f"{output.name}_axes")
        producer, restored = output.producer(), node.outputs[0]
        if producer is None:
            raise TypeError(f"{output.name} is not made by a node")
        self._graph.insert_after(producer, node)
        restored.type = output.type
        if output.is_graph_output():
            for index, value in enumerate(self._graph.outputs):
                if value is output:
                    self._graph.outputs[index] = restored
            restored.name, output.name = output.name, restored.name
            restored.shape = ir.Shape([length if isinstance(length, int) else None for length in lengths])
        return restored

    def target(self, lengths: Sequence[Length]) -> ir.Value:
        """The Reshape target with these lengths."""
        key = tuple(length for length in lengths if length is not None)
        free = [length for length in key if isinstance(length, str)]
        if key not in self._targets:
            if len(free) <= 1:
                self._targets[key] = self._constant([length if isinstance(length, int) else -1 for length in key])
            else:
                self._targets[key] = self._computed(key, free[0])
        return self._targets[key]

    def _computed(self, key: tuple[int | str, ...], read: str) -> ir.Value:
        """Concat of the constants and the length that is read; written at the start of the graph."""
        place = key.index(read)
        value, axis = self._axes[read]
        bounds = [ir.AttrInt64("start", axis), ir.AttrInt64("end", axis + 1)]
        length = self._node("Shape", [value], bounds, f"{value.name}_{read}")
        rest = [
            self._constant([d if isinstance(d, int) else -1 for d in part]) if part else None
            for part in (key[:place], key[place + 1 :])
        ]
        parts = [part for part in (rest[0], length.outputs[0], rest[1]) if part is not None]
        joined = self._node("Concat", parts, [ir.AttrInt64("axis", 0)], f"{value.name}_target")
        first = self._graph.node(0)
        self._graph.insert_before(first, [length, joined])
        return joined.outputs[0]

    def _constant(self, target: Sequence[Length]) -> ir.Value:
        return g.new_initializer(self._graph, "rows", np.asarray(target, np.int64), self._taken)

    def _node(self, op_type: str, inputs: Sequence[ir.Value], attributes: Sequence[ir.Attr], name: str) -> ir.Node:
        node = ir.Node("", op_type, inputs, attributes, num_outputs=1)
        node.name = node.outputs[0].name = g.claimed(name, self._taken)
        return node
