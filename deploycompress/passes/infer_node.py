"""node, what is known about its inputs now -> what that proves about its outputs.

A pass that learns the value of one tensor asks again about the nodes behind it, instead of about the whole model.
Source: `onnx.shape_inference.infer_node_outputs`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import onnx_ir as ir

from deploycompress.passes import graph as g
from deploycompress.passes.shapes import Shapes, read_type
from deploycompress.passes.weightless import LARGEST_VALUE_READ_BYTES, node_proto


def infer_outputs(node: ir.Node, shapes: Shapes, values: Mapping[ir.Value, np.ndarray]) -> set[ir.Value]:
    """Adds to `shapes` what is newly certain about the outputs of `node`, and returns those outputs.

    Args:
        node: A node of the standard domain without bodies; others prove nothing new.
        shapes: What is known so far.
        values: Values computed meanwhile, beside the constants of the model.
    """
    if node.domain not in g.STANDARD_DOMAINS or g.has_subgraph(node):
        return set()
    types: dict[str, onnx.TypeProto] = {}
    data: dict[str, onnx.TensorProto] = {}
    proto = node_proto(node)
    for index, value in enumerate(node.inputs):
        dtype = shapes.dtype(value)
        if value is None:
            continue
        if dtype is None:
            return set()
        name = proto.input[index] = f"i{index}"  # names may be shadowed in bodies
        types[name] = onnx.helper.make_tensor_type_proto(int(dtype), shapes.symbolic(value))
        known = values[value] if value in values else _small(value)
        if known is not None and known.nbytes <= LARGEST_VALUE_READ_BYTES:
            data[name] = onnx.numpy_helper.from_array(known, name)
    for index, output in enumerate(node.outputs):
        proto.output[index] = f"o{index}" if output.name else ""
    try:
        schema = onnx.defs.get_schema(node.op_type, shapes.opset)
        found = onnx.shape_inference.infer_node_outputs(schema, proto, types, data)
    except (onnx.defs.SchemaError, onnx.shape_inference.InferenceError, RuntimeError, ValueError):
        return set()  # the whole-model inference has said why, where it matters
    learnt = set()
    for index, output in enumerate(node.outputs):
        inferred = found.get(f"o{index}")
        if inferred is None or not inferred.tensor_type.elem_type:
            continue
        before = shapes.lengths.get(output)
        read_type(output, inferred.tensor_type, shapes)
        if shapes.lengths.get(output) != before:
            learnt.add(output)
    return learnt


def _small(value: ir.Value) -> np.ndarray | None:
    tensor = g.constant(value)
    if tensor is None or tensor.dtype == ir.DataType.STRING or tensor.nbytes > LARGEST_VALUE_READ_BYTES:
        return None
    return tensor.numpy()
