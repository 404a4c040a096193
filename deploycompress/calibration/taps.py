"""model + tensor names -> a copy of the model whose outputs are those tensors, out of control-flow bodies too.

A tensor of the main graph becomes a graph output. One inside a body is first handed to the node that owns the body:
as one more output of both branches of an If (the branch without it gives an empty tensor), as one more scan output of
a Loop or Scan (the turns are stacked on a new leading axis). One walk over the nodes finds all of them.

Source: ONNX operators If-16, Loop-16, Scan-16.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deploycompress.errors import UnknownNameError

_STACKING = ("Loop", "Scan")


@dataclass(frozen=True)
class Tap:
    """Where a tensor comes out.

    Attributes:
        output: Name of the graph output.
        depth: How many axes of turns lead it: one for each Loop or Scan around it.
    """

    output: str
    depth: int = 0

    def values(self, output: NDArray[np.floating]) -> NDArray[np.floating]:
        """The tensor [batch, ...] of every turn, joined on its leading axis."""
        if self.depth == 0 or output.ndim <= self.depth:
            return output
        return output.reshape(-1, *output.shape[self.depth + 1 :])


def tap(model: ir.Model, tensors: Sequence[str]) -> tuple[ir.Model, dict[str, Tap]]:
    """A copy of `model` that gives `tensors` and nothing else (its own outputs where `tensors` is empty).

    Raises:
        UnknownNameError: A tensor is produced nowhere in the model.
    """
    copy = model.clone()
    places = {str(value.name): (value, owners) for value, owners in _produced(copy.graph, ()) if value.name}
    taken = {*places, *copy.graph.initializers, *(str(value.name) for value in copy.graph.inputs)}
    taps: dict[str, Tap] = {}
    outputs: dict[str, ir.Value] = {}
    for name in tensors:
        if name not in places:
            raise UnknownNameError("tensor", name, list(places))
        value, owners = places[name]
        if value.type is None:
            value.type = ir.TensorType(ir.DataType.FLOAT)
        for owner, body in reversed(owners):
            value = _handed_out(value, owner, body, taken)
        outputs[str(value.name)] = value
        taps[name] = Tap(str(value.name), sum(owner.op_type in _STACKING for owner, _ in owners))
    if outputs:
        copy.graph.outputs[:] = list(outputs.values())
    return copy, taps


_Owners = tuple[tuple[ir.Node, ir.Graph], ...]


def _produced(graph: ir.Graph, owners: _Owners) -> Iterator[tuple[ir.Value, _Owners]]:
    """Yields (value, the nodes and bodies around it, outermost first); the main graph comes last and wins a name."""
    for node in graph:
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.GRAPH:
                yield from _produced(attribute.as_graph(), (*owners, (node, attribute.as_graph())))
    for node in graph:
        for value in node.outputs:
            yield value, owners


def _handed_out(value: ir.Value, owner: ir.Node, body: ir.Graph, taken: set[str]) -> ir.Value:
    """The new output of `owner` that carries `value` out of `body`."""
    body.outputs.append(value)
    if owner.op_type == "If":
        for attribute in owner.attributes.values():
            if attribute.type == ir.AttributeType.GRAPH and attribute.as_graph() is not body:
                attribute.as_graph().outputs.append(_empty(attribute.as_graph(), value, taken))
    elif "scan_output_axes" in owner.attributes:
        axes = [*owner.attributes["scan_output_axes"].as_ints(), 0]
        owner.attributes["scan_output_axes"] = ir.AttrInt64s("scan_output_axes", axes)
    if "scan_output_directions" in owner.attributes:
        directions = [*owner.attributes["scan_output_directions"].as_ints(), 0]
        owner.attributes["scan_output_directions"] = ir.AttrInt64s("scan_output_directions", directions)
    owner.resize_outputs(len(owner.outputs) + 1)
    carried = owner.outputs[-1]
    carried.name = _fresh(f"{value.name}.out", taken)
    carried.type = value.type
    return carried


def _empty(branch: ir.Graph, like: ir.Value, taken: set[str]) -> ir.Value:
    """An empty tensor of the type of `like`, made in `branch`."""
    assert like.type is not None
    content = np.zeros((0,), ir.DataType(like.type.dtype).numpy())
    name = _fresh(f"{like.name}.absent", taken)
    node = ir.node("Constant", [], attributes={"value": ir.tensor(content, name=name)})
    node.outputs[0].name = name
    node.outputs[0].type = ir.TensorType(ir.DataType(like.type.dtype))
    branch.append(node)
    return node.outputs[0]


def _fresh(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name
