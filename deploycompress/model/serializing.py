"""onnx_ir.Model -> protobuf bytes for a session; external weights stay external, weights in memory go inline.

Open the bytes with `Session(serialize(model), weights_dir=weights_dir(model))`.
"""

from __future__ import annotations

import onnx
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
    proto = ir.serde.serialize_model(model)
    drop_repeated_types(proto.graph)
    return bytes(proto.SerializeToString())


def drop_repeated_types(graph: onnx.GraphProto) -> None:
    """Takes the types of initializers out of `value_info`, in control-flow bodies too: the initializers state them."""
    named = {tensor.name for tensor in graph.initializer}
    kept = [info for info in graph.value_info if info.name not in named]
    if len(kept) < len(graph.value_info):
        del graph.value_info[:]
        graph.value_info.extend(kept)
    for node in graph.node:
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs) if attribute.HasField("g") else attribute.graphs:
                drop_repeated_types(body)
