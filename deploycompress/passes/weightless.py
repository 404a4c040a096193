"""model -> protobuf for shape inference: every node, the small constants, the types of the large ones; no weights.

Inference needs the values of shapes and axes only. Shapes are kept for graph inputs alone, and each of their free axes
gets a symbol of its own (see `shapes`). Source: ONNX IR specification, `onnx.proto` (ValueInfoProto, value_info).
"""

from __future__ import annotations

import onnx
import onnx_ir as ir

LARGEST_VALUE_READ_BYTES = 1024


def weightless(model: ir.Model) -> onnx.ModelProto:
    """The protobuf of `model` without its weights; names and order of nodes and attributes are kept."""
    proto = onnx.ModelProto(ir_version=model.ir_version)
    proto.opset_import.extend(onnx.helper.make_opsetid(domain, v) for domain, v in model.opset_imports.items())
    proto.functions.extend(ir.serde.serialize_function(function) for function in model.functions.values())
    _graph(model.graph, proto.graph)
    for number, (value, info) in enumerate(zip(model.graph.inputs, proto.graph.input, strict=True)):
        if value.shape is None or not info.type.HasField("tensor_type"):
            continue
        info.type.tensor_type.shape.SetInParent()
        for axis, length in enumerate(value.shape):
            dim = info.type.tensor_type.shape.dim.add()
            if isinstance(length, int):
                dim.dim_value = length
            else:
                dim.dim_param = f"{number}.{axis}"
    return proto


def node_proto(node: ir.Node) -> onnx.NodeProto:
    """One node, the bodies in it without their weights."""
    proto = onnx.NodeProto()
    _node(node, proto)
    return proto


def _graph(graph: ir.Graph, proto: onnx.GraphProto, *, is_body: bool = False) -> None:
    proto.name = graph.name or "graph"
    for value in graph.inputs:
        _typed(value, proto.input.add())
    for value in graph.outputs:
        _typed(value, proto.output.add())
    for value in (*graph.initializers.values(), *(_outer_constants(graph) if is_body else ())):
        _initializer(value, proto)
    for node in graph:
        _node(node, proto.node.add())


def _outer_constants(graph: ir.Graph) -> list[ir.Value]:
    """Initializers of the graphs around a body that it reads: inference does not look for their values there."""
    own = {value.name for value in (*graph.inputs, *(output for node in graph for output in node.outputs))}
    read = dict.fromkeys(value for node in graph for value in node.inputs if value is not None)
    return [value for value in read if value.is_initializer() and value.graph is not graph and value.name not in own]


def _initializer(value: ir.Value, proto: onnx.GraphProto) -> None:
    tensor = value.const_value
    if tensor is None or value.is_graph_input():
        return  # a default that the caller may override proves nothing
    if tensor.dtype != ir.DataType.STRING and tensor.nbytes <= LARGEST_VALUE_READ_BYTES:
        small = ir.Tensor(tensor.numpy(), tensor.dtype, name=value.name)
        ir.serde.serialize_tensor_into(proto.initializer.add(), small)
    else:
        dims = tensor.shape.numpy()
        proto.value_info.append(onnx.helper.make_tensor_value_info(value.name or "", int(tensor.dtype), dims))


def _typed(value: ir.Value, info: onnx.ValueInfoProto) -> None:
    info.name = value.name or ""
    if value.type is not None:
        ir.serde.serialize_type_into(info.type, value.type)


def _node(node: ir.Node, proto: onnx.NodeProto) -> None:
    proto.op_type, proto.domain, proto.overload = node.op_type, node.domain, node.overload
    proto.input.extend("" if value is None else value.name or "" for value in node.inputs)
    proto.output.extend(value.name or "" for value in node.outputs)
    for attribute in node.attributes.values():
        twin = proto.attribute.add()
        if attribute.is_ref():
            ir.serde.serialize_reference_attribute_into(twin, attribute)
        elif attribute.type == ir.AttributeType.GRAPH:
            twin.name, twin.type = attribute.name, onnx.AttributeProto.GRAPH
            _graph(attribute.as_graph(), twin.g, is_body=True)
        elif attribute.type == ir.AttributeType.GRAPHS:
            twin.name, twin.type = attribute.name, onnx.AttributeProto.GRAPHS
            for body in attribute.as_graphs():
                _graph(body, twin.graphs.add(), is_body=True)
        else:
            ir.serde.serialize_attribute_into(twin, attribute)
