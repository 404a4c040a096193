"""tensor -> a small one that stands for it while the graph is serialized, so that no weight is copied into a message.

`with replaced(model, stand_ins): serialize_model(model)`; the model is as before when the block ends.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import onnx_ir as ir

from deploycompress.model.tensors import slots


def external_stand_in(
    tensor: ir.TensorProtocol, location: str, offset: int, folder: Path | None = None
) -> ir.ExternalTensor:
    """A tensor of the same type, shape and name whose bytes lie at `offset` of `location` in `folder`."""
    return ir.ExternalTensor(
        location,
        offset,
        tensor.nbytes,
        tensor.dtype,
        shape=ir.Shape(tensor.shape.numpy()),
        name=tensor.name or "",
        doc_string=tensor.doc_string,
        metadata_props=dict(tensor.metadata_props),
        base_dir="" if folder is None else folder.resolve(),
    )


def in_memory(tensor: ir.ExternalTensor) -> ir.TensorProtocol:
    """The same tensor on mapped memory: it no longer needs the name of its file, and is serialized inline."""
    return ir.Tensor(
        tensor.numpy(),
        dtype=tensor.dtype,
        shape=ir.Shape(tensor.shape.numpy()),
        name=tensor.name,
        doc_string=tensor.doc_string,
        metadata_props=dict(tensor.metadata_props),
    )


@contextlib.contextmanager
def replaced(model: ir.Model, stand_ins: Mapping[int, ir.TensorProtocol]) -> Iterator[None]:
    """Until the block ends, stand-ins (by `id`) are in place and every other external tensor is in memory."""
    changed = []
    try:
        for slot in list(slots(model)):
            stand_in = stand_ins.get(id(slot.tensor))
            if stand_in is None and isinstance(slot.tensor, ir.ExternalTensor):
                stand_in = in_memory(slot.tensor)
            if stand_in is not None:
                slot.put(stand_in)
                changed.append(slot)
        yield
    finally:
        for slot in changed:
            slot.put(slot.tensor)
