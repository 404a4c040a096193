"""onnx_ir.Model -> protobuf bytes for a session; external weights stay external, weights in memory go inline.

Open the bytes with `Session(serialize(model), weights_dir=weights_dir(model))`.
"""

from __future__ import annotations

import onnx_ir as ir

from deploycompress.errors import UnsupportedError
from deploycompress.model.sniff import PROTOBUF_LIMIT_BYTES
from deploycompress.model.tensors import slots


def serialize(model: ir.Model) -> bytes:
    """The bytes of `model`.

    Raises:
        UnsupportedError: The weights in memory do not fit in one protobuf.
    """
    inline_bytes = sum(slot.tensor.nbytes for slot in slots(model) if not isinstance(slot.tensor, ir.ExternalTensor))
    if inline_bytes > PROTOBUF_LIMIT_BYTES:
        raise UnsupportedError(
            f"{inline_bytes} bytes of weights in memory do not fit in one protobuf (2 GiB)",
            remedy="save the model to a file and load it again",
        )
    return bytes(ir.serde.serialize_model(model).SerializeToString())
