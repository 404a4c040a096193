"""node with constant inputs ==> initializer; Shape of known axes ==> initializer.

Values are computed by ONNX Runtime itself, one node at a time and unoptimized, so they are the ones it would have
computed. Never folded: random operators, control flow, QuantizeLinear and DequantizeLinear (they carry the
quantization), graph outputs, and a result that would make the file grow by more than `max_growth_bytes`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from deploycompress.errors import ModelRejectedError
from deploycompress.passes import graph as g
from deploycompress.passes.base import Findings, PassResult
from deploycompress.passes.evaluate import Evaluator
from deploycompress.passes.fold_shapes import known_dimensions
from deploycompress.passes.infer_node import infer_outputs
from deploycompress.passes.shapes import Shapes, infer

_KEPT = frozenset({"Constant", "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "Dropout"})
_LARGEST_INTERMEDIATE_BYTES = 64 * 2**20


@dataclass(frozen=True)
class FoldConstants:
    """Replaces what can be computed now by its value, until nothing more can.

    Attributes:
        max_growth_bytes: How much larger than the constants it frees one folded value may be.
    """

    exact: ClassVar[bool] = True
    max_growth_bytes: int = 1024

    def __call__(self, model: ir.Model) -> PassResult:
        """Rewrites a copy of `model`."""
        found = Findings()
        if not any(_may_fold(node) for node in g.nodes(model)):
            return found.result(model, model)
        after = model.clone()
        evaluator = Evaluator(after)
        while True:
            shapes = infer(after)
            if shapes.problem:
                found.refused(model.graph.name or "graph", f"shape inference failed: {shapes.problem}")
            before = len(found.changes)
            for graph in tuple(after.graphs()):
                self._fold(graph, shapes, evaluator, found)
            if len(found.changes) == before:
                return found.result(model, after)

    def _fold(self, graph: ir.Graph, shapes: Shapes, evaluator: Evaluator, found: Findings) -> None:
        values = self._evaluate(graph, shapes, evaluator, found)
        folded = {node for node in graph if node.outputs and any(o in values for o in node.outputs)}
        while self._drop_growing(graph, folded, values, found):
            pass  # a node that stays keeps its inputs, so what it would have freed is to be counted again
        for node in reversed(list(graph)):
            if node in folded:
                _replace(graph, node, values, found)

    def _drop_growing(
        self, graph: ir.Graph, folded: set[ir.Node], values: dict[ir.Value, np.ndarray], found: Findings
    ) -> bool:
        """Takes out of `folded` the nodes whose results would make the file grow; whether there were any.

        From the outputs back: a value that a staying node reads must be stored. Each constant that goes pays for one
        result only.
        """
        paid: set[ir.Value] = set()
        dropped = False
        for node in reversed(list(graph)):
            needed = [o for o in node.outputs if any(use.node not in folded for use in o.uses())]
            if node not in folded or not needed:
                continue
            freed = _freed(node, folded) - paid
            stored = sum(values[o].nbytes for o in needed)
            if stored <= sum(_nbytes(v) for v in freed) + self.max_growth_bytes:
                paid |= freed
                continue
            folded.discard(node)
            dropped = True
            found.refused(g.label(node), f"folding {node.op_type} would store {stored} bytes")
        return dropped

    def _evaluate(
        self, graph: ir.Graph, shapes: Shapes, evaluator: Evaluator, found: Findings
    ) -> dict[ir.Value, np.ndarray]:
        """Values of the outputs that can be computed now; what they prove about shapes is used on the way."""
        values: dict[ir.Value, np.ndarray] = {}
        learnt: set[ir.Value] = set()
        for node in graph:
            if any(value in learnt for value in node.inputs):
                learnt |= infer_outputs(node, shapes, values)
            if any(o.is_graph_output() for o in node.outputs):
                continue
            dims = known_dimensions(node, shapes)
            results = [dims] if dims is not None else _computed(node, values, shapes, evaluator, found)
            for output, result in zip((o for o in node.outputs if o.name), results, strict=bool(results)):
                values[output] = result
                shapes.lengths[output] = result.shape
                learnt.add(output)
        return values


def _may_fold(node: ir.Node) -> bool:
    """Whether `node` asks for a shape or has constant inputs alone; nothing else starts a fold."""
    if g.is_op(node, "Constant"):
        return False
    return g.is_op(node, "Shape", "Size") or all(v is None or g.constant(v) is not None for v in node.inputs)


def _computed(
    node: ir.Node, values: dict[ir.Value, np.ndarray], shapes: Shapes, evaluator: Evaluator, found: Findings
) -> list[np.ndarray]:
    """The named outputs of `node` where its inputs are constant; none where it must stay, or cannot be computed."""
    feed = _feed(node, values)
    if feed is None or _too_large(node, shapes):
        return []
    try:
        return evaluator(node, feed)
    except ModelRejectedError as error:
        found.refused(g.label(node), f"{node.op_type} cannot be computed now: {error.what}")
        return []


def _feed(node: ir.Node, values: dict[ir.Value, np.ndarray]) -> list[np.ndarray | None] | None:
    """The inputs as arrays (None where omitted), or None where one is not constant or the node must stay."""
    if node.domain not in g.STANDARD_DOMAINS or node.op_type in _KEPT | g.NON_DETERMINISTIC or g.has_subgraph(node):
        return None
    feed: list[np.ndarray | None] = []
    for value in node.inputs:
        data = None
        if value is not None:
            data = values[value] if value in values else g.array(value)
            if data is None or not Evaluator.takes(data):
                return None
        feed.append(data)
    return feed


def _too_large(node: ir.Node, shapes: Shapes) -> bool:
    static = shapes.static(node.outputs[0])
    inputs = sum(_nbytes(v) for v in node.inputs if v is not None)
    return static is not None and 4 * int(np.prod(static, dtype=np.int64)) > _LARGEST_INTERMEDIATE_BYTES + inputs


def _freed(node: ir.Node, folded: set[ir.Node]) -> set[ir.Value]:
    """Initializers that nothing reads any more once `folded` is gone and that feed `node`, directly or not."""
    roots: set[ir.Value] = set()
    todo, seen = [node], {node}
    while todo:
        for value in todo.pop().inputs:
            if value is None:
                continue
            producer = value.producer()
            if producer is not None and producer in folded and producer not in seen:
                seen.add(producer)
                todo.append(producer)
            elif value.is_initializer() and not value.is_graph_output() and all(u.node in folded for u in value.uses()):
                roots.add(value)
    return roots


def _nbytes(value: ir.Value) -> int:
    tensor = g.constant(value)
    return 0 if tensor is None else tensor.nbytes


def _replace(graph: ir.Graph, node: ir.Node, values: dict[ir.Value, np.ndarray], found: Findings) -> None:
    """Stores what is still read of `node` as initializers of the same names, and removes the node."""
    name, op_type = g.label(node), node.op_type
    inputs = [value for value in node.inputs if value is not None]
    for output in node.outputs:
        if output.uses():
            tensor = ir.tensor(values[output], name=output.name)
            initializer = ir.Value(
                name=output.name,
                type=ir.TensorType(tensor.dtype),
                shape=ir.Shape(values[output].shape),
                const_value=tensor,
            )
            output.replace_all_uses_with(initializer)
            output.name = None
            graph.register_initializer(initializer)
    graph.remove(node, safe=True)
    found.changed(name, f"{op_type} computed now")
    g.drop_unread(value for value in inputs if value.is_initializer())
