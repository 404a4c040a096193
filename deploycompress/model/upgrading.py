"""model of an old opset -> the same function in a newer one, by ONNX's own version converter.

The border to protobuf: the converter takes and gives a ModelProto. Weights are set aside meanwhile, as inputs of the
same type and shape: no rule of the converter looks into a large one, and none can follow external data.
Source: onnx.version_converter (docs/VersionConverter.md).
"""

from __future__ import annotations

import onnx
import onnx_ir as ir
from onnx import version_converter

from deploycompress.errors import UnsupportedError
from deploycompress.model.serializing import serialize

_LARGE_BYTES = 1024  # constants that a rule may look into are shapes, axes and scales


def raise_opset(model: ir.Model, minimum: int) -> ir.Model:
    """`model` itself where its standard opset is `minimum` or newer, else a converted copy.

    Raises:
        UnsupportedError: The converter has no rule for an operator.
    """
    version = model.graph.opset_imports.get("", 0)
    if version >= minimum:
        return model
    copy = model.clone()
    aside = _set_aside(copy.graph)
    try:
        converted = version_converter.convert_version(onnx.ModelProto.FromString(serialize(copy)), minimum)
    except (RuntimeError, ValueError) as error:  # ConvertError derives from RuntimeError
        raise UnsupportedError(
            f"opset {version} cannot be raised to {minimum}: {' '.join(str(error).split())[:200]}",
            remedy="export the model again with a newer opset",
        ) from error
    raised = ir.from_proto(converted)
    for value in [value for value in raised.graph.inputs if value.name in aside]:
        raised.graph.inputs.remove(value)
        value.const_value = aside[str(value.name)]
        raised.graph.register_initializer(value)
    return raised


def _set_aside(graph: ir.Graph) -> dict[str, ir.TensorProtocol]:
    """Makes inputs of the large initializers of the main graph; returns their tensors by name."""
    aside: dict[str, ir.TensorProtocol] = {}
    for name, value in list(graph.initializers.items()):
        tensor = value.const_value
        if tensor is None or tensor.nbytes < _LARGE_BYTES or value.is_graph_input() or value.is_graph_output():
            continue
        del graph.initializers[name]
        value.type, value.shape = ir.TensorType(tensor.dtype), ir.Shape(tensor.shape.numpy())
        value.const_value = None
        graph.inputs.append(value)
        aside[name] = tensor
    return aside
