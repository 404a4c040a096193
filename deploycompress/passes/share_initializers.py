"""equal initializers ==> one, read by all (tied weights, repeated shape constants).

Two initializers are equal when element type, shape and bytes are. A body reads the outer copy where there is one. Only
tensors of equal type and shape are ever compared, by digest, so a weight that has no rival is not read from disk, and
one that has is read in pieces.

Run it after the folding passes: they refuse weights that have several readers.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from deploycompress.passes import graph as g
from deploycompress.passes.base import Findings, PassResult

_Kind = tuple[ir.DataType, tuple[int, ...]]
_Key = tuple[_Kind, bytes]


@dataclass(frozen=True)
class ShareInitializers:
    """Makes every reader of equal initializers read the first of them."""

    exact: ClassVar[bool] = True

    def __call__(self, model: ir.Model) -> PassResult:
        """Rewrites a copy of `model`."""
        found = Findings()
        after = model.clone()
        kinds = Counter(_kind(t) for graph in after.graphs() for _, t in _candidates(graph))
        repeated = {kind for kind, count in kinds.items() if count > 1}
        _share(after.graph, {}, repeated, found)
        return found.result(model, after)


def _share(graph: ir.Graph, visible: dict[_Key, ir.Value], repeated: set[_Kind], found: Findings) -> None:
    """Shares within `graph` and with the scopes around it, then does the bodies inside."""
    known = dict(visible)
    for value, tensor in tuple(_candidates(graph)):
        if _kind(tensor) not in repeated:
            continue
        key = (_kind(tensor), _digest(tensor))
        first = known.setdefault(key, value)
        if first is value:
            continue
        if value.is_graph_output():
            found.refused(value.name or "", f"equal to {first.name}, but it is a graph output")
            continue
        value.replace_all_uses_with(first)
        del graph.initializers[value.name or ""]
        found.changed(value.name or "", f"equal to {first.name}, which is read instead")
    for node in graph:
        for body in g.bodies(node):
            _share(body, known, repeated, found)


def _candidates(graph: ir.Graph) -> Iterator[tuple[ir.Value, ir.TensorProtocol]]:
    for value in graph.initializers.values():
        tensor = g.constant(value)
        if tensor is not None and tensor.dtype != ir.DataType.STRING:
            yield value, tensor


def _kind(tensor: ir.TensorProtocol) -> _Kind:
    return tensor.dtype, tuple(tensor.shape.numpy())


class _Pieces:
    """What `tofile` writes to, piece by piece."""

    def __init__(self) -> None:
        self.sha256 = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        return len(data)


def _digest(tensor: ir.TensorProtocol) -> bytes:
    """SHA-256 of the elements. Weights on disk pass through in pieces, so that none stays in memory."""
    if isinstance(tensor, ir.ExternalTensor):
        pieces = _Pieces()
        tensor.tofile(pieces)
        return pieces.sha256.digest()
    flat = np.ascontiguousarray(tensor.numpy()).reshape(-1)
    return hashlib.sha256(flat.view(np.uint8).data).digest() if flat.size else b""
