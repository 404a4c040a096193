"""ModelProto -> every tensor in it, wherever it hides, with words that tell a user where that is.

Tensors lie in initializers and in node attributes, of the main graph, of subgraphs inside attributes, and of
functions. Sparse tensors and training graphs are refused: the graph library would drop them without a word.

Source: ONNX IR specification, "Graphs", "Attributes", "Functions".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx

from deploycompress.errors import ModelRejectedError


def tensors(proto: onnx.ModelProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    """Yields (description, tensor) for every dense tensor of the model.

    Raises:
        ModelRejectedError: The model holds a sparse tensor or a training graph.
    """
    if proto.training_info:
        raise ModelRejectedError("it carries a training graph", remedy="export the inference graph alone")
    yield from _graph(proto.graph)
    for function in proto.functions:
        yield from _nodes(function.node)
        for attribute in function.attribute_proto:
            yield from _attribute(attribute, f"a default of function {function.name!r}")


def _graph(graph: onnx.GraphProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    if graph.sparse_initializer:
        name = graph.sparse_initializer[0].values.name
        raise ModelRejectedError(f"initializer {name!r} is sparse", remedy="store it as a dense tensor")
    for tensor in graph.initializer:
        yield f"initializer {tensor.name!r}", tensor
    yield from _nodes(graph.node)


def _nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[tuple[str, onnx.TensorProto]]:
    for node in nodes:
        owner = f"{node.op_type} node {node.name or (node.output[0] if node.output else '')!r}"
        for attribute in node.attribute:
            yield from _attribute(attribute, owner)


def _attribute(attribute: onnx.AttributeProto, owner: str) -> Iterator[tuple[str, onnx.TensorProto]]:
    where = f"attribute {attribute.name!r} of {owner}"
    if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
        raise ModelRejectedError(f"{where} is sparse", remedy="store it as a dense tensor")
    if attribute.type == onnx.AttributeProto.UNDEFINED and not attribute.ref_attr_name:
        raise ModelRejectedError(f"{where} has no type, so its value would be lost", remedy="export the model again")
    if attribute.HasField("t") or (attribute.type == onnx.AttributeProto.TENSOR and not attribute.ref_attr_name):
        yield where, attribute.t  # an empty one where the type promises a tensor that is not there
    for tensor in attribute.tensors:
        yield where, tensor
    if attribute.HasField("g"):
        yield from _graph(attribute.g)
    for graph in attribute.graphs:
        yield from _graph(graph)
