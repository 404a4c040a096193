"""model of an old opset -> the same function in a newer one, by ONNX's own version converter.

The border to protobuf: the converter takes and gives a ModelProto, with every weight inline.
Source: onnx.version_converter (docs/VersionConverter.md).
"""

from __future__ import annotations

import onnx
import onnx_ir as ir
from onnx import version_converter

from deploycompress.errors import UnsupportedError
from deploycompress.model.serializing import serialize
from deploycompress.model.tensors import slots


def raise_opset(model: ir.Model, minimum: int) -> ir.Model:
    """`model` itself where its standard opset is `minimum` or newer, else a converted copy.

    Raises:
        UnsupportedError: The converter has no rule for an operator, or the weights lie outside the file.
    """
    version = model.graph.opset_imports.get("", 0)
    if version >= minimum:
        return model
    if any(isinstance(slot.tensor, ir.ExternalTensor) for slot in slots(model)):
        raise UnsupportedError(
            f"opset {version} must be raised to {minimum}, and the converter cannot follow external data",
            remedy="export the model again with a newer opset",
        )
    try:
        converted = version_converter.convert_version(onnx.ModelProto.FromString(serialize(model)), minimum)
    except (RuntimeError, ValueError) as error:  # ConvertError derives from RuntimeError
        raise UnsupportedError(
            f"opset {version} cannot be raised to {minimum}: {' '.join(str(error).split())[:200]}",
            remedy="export the model again with a newer opset",
        ) from error
    return ir.from_proto(converted)
