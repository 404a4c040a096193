"""The few graph questions and edits that every pass shares: constants, uses, attributes, bypass, new initializers.

onnx-ir keeps def-use chains across control-flow bodies: a value captured by a subgraph lists that use in `uses()`.
Source: ONNX IR specification, sections "Graphs", "Nodes" and "Value names" (unique in a graph and its subgraphs).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import onnx_ir as ir

STANDARD_DOMAINS = ("", "ai.onnx")
NON_DETERMINISTIC = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"}
)


def nodes(model: ir.Model) -> list[ir.Node]:
    """Every node of the graph and its control-flow bodies, producers before users; safe to edit while looping."""
    return list(ir.traversal.RecursiveGraphIterator(model.graph))


def is_op(node: ir.Node | None, *op_types: str) -> bool:
    """Whether `node` is one of these operators of the standard domain."""
    return node is not None and node.domain in STANDARD_DOMAINS and node.op_type in op_types


def contains(model: ir.Model, *op_types: str) -> bool:
    """Whether any node is one of these standard operators; a pass that looks for them can stop where not."""
    return any(is_op(node, *op_types) for node in ir.traversal.RecursiveGraphIterator(model.graph))


def bodies(node: ir.Node) -> Iterator[ir.Graph]:
    """The graphs a control-flow node holds (If, Loop, Scan or a custom operator with a graph attribute)."""
    for attribute in node.attributes.values():
        if attribute.is_ref():
            continue
        if attribute.type == ir.AttributeType.GRAPH:
            yield attribute.as_graph()
        elif attribute.type == ir.AttributeType.GRAPHS:
            yield from attribute.as_graphs()


def has_subgraph(node: ir.Node) -> bool:
    """Whether `node` is control flow."""
    return next(bodies(node), None) is not None


def opset(model: ir.Model) -> int:
    """Version of the standard operator set the model imports (0 where it imports none)."""
    return next((v for d, v in model.opset_imports.items() if d in STANDARD_DOMAINS), 0)


def int_attribute(node: ir.Node, name: str, default: int) -> int:
    """Integer attribute, or its default."""
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_int()


def ints_attribute(node: ir.Node, name: str) -> list[int] | None:
    """Integer-list attribute, or None where it is absent."""
    attribute = node.attributes.get(name)
    return None if attribute is None else list(attribute.as_ints())


def float_attribute(node: ir.Node, name: str, default: float) -> float:
    """Float attribute, or its default."""
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_float()


def string_attribute(node: ir.Node, name: str, default: str) -> str:
    """String attribute, or its default."""
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_string()


def input_at(node: ir.Node, index: int) -> ir.Value | None:
    """Input number `index`, or None where it is omitted (absent or empty name)."""
    return node.inputs[index] if index < len(node.inputs) else None


def label(node: ir.Node) -> str:
    """How a message names a node: by its first output, which always has a name (node names may be empty)."""
    return node.outputs[0].name or node.name or node.op_type


def constant(value: ir.Value | None) -> ir.TensorProtocol | None:
    """The tensor of a value that no caller can change: an initializer that is not an input, or a Constant node."""
    if value is None or value.is_graph_input():
        return None
    if value.is_initializer():
        return value.const_value
    producer = value.producer()
    if producer is not None and is_op(producer, "Constant") and "value" in producer.attributes:
        attribute = producer.attributes["value"]
        return None if attribute.is_ref() else attribute.as_tensor()
    return None


def array(value: ir.Value | None) -> np.ndarray | None:
    """`constant` as an array (mapped where the weight lies on disk), or None."""
    tensor = constant(value)
    return None if tensor is None else tensor.numpy()


def why_not_constant(role: str, value: ir.Value | None) -> str:
    """The reason `constant` gave None, as a sentence about the input called `role`."""
    if value is None:
        return f"{role} is absent"
    if value.is_graph_input():
        return f"{role} {value.name!r} is a graph input"
    producer = value.producer()
    return f"{role} {value.name!r} is computed by {producer.op_type if producer else 'an outer graph'}"


def sole_user(value: ir.Value) -> ir.Node | None:
    """The one node that reads `value`, where it is read exactly once and is not an output of any graph."""
    uses = value.uses()
    if len(uses) != 1 or value.is_graph_output():
        return None
    return next(iter(uses)).node


def shared(value: ir.Value) -> int:
    """How many other places read `value`, beyond one."""
    return len(value.uses()) - 1 + int(value.is_graph_output())


def bypass(node: ir.Node, source: ir.Value, index: int = 0) -> str | None:
    """Makes every user of output `index` of `node` read `source`, and removes `node`; or says why it cannot.

    `source` must be visible where the node stands. A graph output keeps its name: `source` takes it over, which is
    possible only where `source` is made by a node of the same graph and is not an output itself.
    """
    graph, output = node.graph, node.outputs[index]
    if graph is None:
        return "the node is not in a graph"
    if any(o.uses() or o.is_graph_output() for o in node.outputs if o is not output):
        return "another output of the node is in use"
    if output.is_graph_output():
        producer = source.producer()
        if producer is None:
            return "it hands a graph input or initializer to a graph output"
        if producer.graph is not graph:
            return "it hands a value of the outer graph to a graph output"
        if source.is_graph_output():
            return "its input and its output are both graph outputs"
        source.shape = source.shape if output.shape is None else output.shape  # that of a scalar is empty
        source.type = output.type or source.type
        output.replace_all_uses_with(source, replace_graph_outputs=True)
        name, output.name = output.name, None
        source.name = name
    else:
        if source.shape is None and output.type is not None:  # a shape without a type cannot be stored
            source.shape, source.type = output.shape, source.type or output.type
        output.replace_all_uses_with(source)
    graph.remove(node, safe=True)
    return None


def detach(control_flow: ir.Node) -> None:
    """Makes the bodies of a node that was removed read nothing, so that nothing outside counts them as readers."""
    for body in bodies(control_flow):
        for inner in body.all_nodes():
            for index in range(len(inner.inputs)):
                inner.replace_input_with(index, None)


def drop_unread(candidates: Iterable[ir.Value | None]) -> None:
    """Removes those of `candidates` that nothing reads, and what only they read; control flow and inputs stay."""
    todo = [value for value in candidates if value is not None]
    while todo:
        value = todo.pop()
        producer, owner = value.producer(), value.graph
        if value.uses() or value.is_graph_output() or value.is_graph_input():
            continue
        if producer is None:
            if isinstance(owner, ir.Graph) and owner.initializers.get(value.name or "") is value:
                del owner.initializers[value.name or ""]
            continue
        unread = not any(output.uses() or output.is_graph_output() for output in producer.outputs)
        if unread and producer.graph is not None and not has_subgraph(producer):
            todo.extend(value for value in producer.inputs if value is not None)
            producer.graph.remove(producer, safe=True)


def names(model: ir.Model) -> set[str]:
    """Every value name of the model, in any scope."""
    return {value.name for value in values(model) if value.name}


def fresh_name(model: ir.Model, name: str) -> str:
    """`name`, or `name_1`, `name_2` ... where it is taken in any scope of the model."""
    return claimed(name, names(model))


def add_initializer(model: ir.Model, graph: ir.Graph, name: str, data: np.ndarray) -> ir.Value:
    """A new initializer of `graph` (the main graph or a body in it) whose name starts with `name`."""
    return new_initializer(graph, name, data, names(model))


def new_initializer(graph: ir.Graph, name: str, data: np.ndarray, taken: set[str]) -> ir.Value:
    """As `add_initializer`, for a pass that adds many: `taken` is `names(model)`, and grows by the new name."""
    fresh = claimed(name, taken)
    tensor = ir.tensor(np.ascontiguousarray(data).reshape(data.shape), name=fresh)
    value = ir.Value(name=fresh, type=ir.TensorType(tensor.dtype), shape=ir.Shape(data.shape), const_value=tensor)
    graph.register_initializer(value)
    return value


def claimed(name: str, taken: set[str]) -> str:
    """`name`, or the first of `name_1`, `name_2` ... that is not in `taken`, which grows by it."""
    fresh, counter = name, 0
    while fresh in taken:
        counter += 1
        fresh = f"{name}_{counter}"
    taken.add(fresh)
    return fresh


def set_weight(model: ir.Model, node: ir.Node, index: int, name: str, data: np.ndarray) -> None:
    """Gives `node` the constant `data` as input `index`: in place where nothing else reads it, else as a new one."""
    old = input_at(node, index)
    if index >= len(node.inputs):
        node.resize_inputs(index + 1)
    if old is not None and old.is_initializer() and not old.is_graph_input() and shared(old) == 0:
        old.const_value = ir.tensor(np.ascontiguousarray(data).reshape(data.shape), name=old.name)
        old.shape = ir.Shape(data.shape)
        return
    graph = node.graph
    if not isinstance(graph, ir.Graph):
        raise TypeError(f"node {label(node)} is not in a graph")
    node.replace_input_with(index, add_initializer(model, graph, name, data))


def values(model: ir.Model) -> Iterator[ir.Value]:
    """Every value of the main graph and its control-flow bodies: inputs, initializers, node outputs."""
    for graph in model.graphs():
        yield from graph.inputs
        yield from graph.initializers.values()
        for node in graph:
            yield from node.outputs
