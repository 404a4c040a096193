"""model -> every tensor it holds, with a way to put another in its place.

Initializers and tensor attributes of the main graph, of all subgraphs, and of functions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import onnx_ir as ir


@dataclass(frozen=True)
class Slot:
    """A place that holds a tensor.

    Attributes:
        name: Name of the initializer, or of the tensor in an attribute.
        tensor: What is there now.
        put: Replaces it.
        top_level: Whether it is an initializer of the main graph.
        in_function: Whether it lies in the body of a function.
    """

    name: str
    tensor: ir.TensorProtocol
    put: Callable[[ir.TensorProtocol], None]
    top_level: bool = False
    in_function: bool = False


def slots(model: ir.Model) -> Iterator[Slot]:
    """Yields every place of `model` that holds a tensor."""
    yield from _graph(model.graph, top_level=True)
    for function in model.functions.values():
        yield from _graph(function.graph, in_function=True)
        for attribute in list(function.attributes.values()):
            if attribute.type == ir.AttributeType.TENSOR and attribute.value is not None:
                yield _attribute_slot(attribute.as_tensor(), _into_attribute(function, attribute.name), True)


def _graph(graph: ir.Graph, *, top_level: bool = False, in_function: bool = False) -> Iterator[Slot]:
    for value in graph.initializers.values():
        if value.const_value is not None:
            yield Slot(value.name or "", value.const_value, _into_value(value), top_level, in_function)
    for node in graph:
        for attribute in list(node.attributes.values()):
            if attribute.is_ref():
                continue
            if attribute.type == ir.AttributeType.TENSOR:
                yield _attribute_slot(attribute.as_tensor(), _into_attribute(node, attribute.name), in_function)
            elif attribute.type == ir.AttributeType.TENSORS:
                for index, tensor in enumerate(attribute.as_tensors()):
                    yield _attribute_slot(tensor, _into_list(node, attribute.name, index), in_function)
            elif attribute.type == ir.AttributeType.GRAPH:
                yield from _graph(attribute.as_graph(), in_function=in_function)
            elif attribute.type == ir.AttributeType.GRAPHS:
                for body in attribute.as_graphs():
                    yield from _graph(body, in_function=in_function)


def _attribute_slot(tensor: ir.TensorProtocol, put: Callable[[ir.TensorProtocol], None], in_function: bool) -> Slot:
    return Slot(tensor.name or "", tensor, put, top_level=False, in_function=in_function)


def _into_value(value: ir.Value) -> Callable[[ir.TensorProtocol], None]:
    def put(tensor: ir.TensorProtocol) -> None:
        value.const_value = tensor

    return put


def _into_attribute(owner: ir.Node | ir.Function, name: str) -> Callable[[ir.TensorProtocol], None]:
    def put(tensor: ir.TensorProtocol) -> None:
        owner.attributes[name] = ir.AttrTensor(name, tensor, doc_string=owner.attributes[name].doc_string)

    return put


def _into_list(node: ir.Node, name: str, index: int) -> Callable[[ir.TensorProtocol], None]:
    def put(tensor: ir.TensorProtocol) -> None:
        there: Sequence[ir.TensorProtocol] = node.attributes[name].as_tensors()
        changed = [*there[:index], tensor, *there[index + 1 :]]
        node.attributes[name] = ir.AttrTensors(name, changed, doc_string=node.attributes[name].doc_string)

    return put


def dtype_name(dtype: ir.DataType) -> str:
    """The numpy name of an element type; "str" for strings."""
    return "str" if dtype == ir.DataType.STRING else str(dtype.numpy().name)


def weight_bytes(model: ir.Model) -> dict[str, int]:
    """Bytes of all stored tensors by element type, subgraphs and functions included; largest first."""
    total: dict[str, int] = defaultdict(int)
    for slot in slots(model):
        total[dtype_name(slot.tensor.dtype)] += slot.tensor.nbytes
    return dict(sorted(total.items(), key=lambda item: -item[1]))
