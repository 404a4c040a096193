"""ONNX file -> where its bytes lie: by element type, by layer, stored twice, used by nothing.

A layer is the node that reads a tensor, the first of several. Tensors are duplicates where element type, shape and
bytes are equal; all but one of them count. Orphans are initializers that no node reads and the stretches of external
data files that no tensor refers to.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import onnx_ir as ir

from deploycompress import model as models
from deploycompress.passes.graph import nodes
from deploycompress.records.measured import Contents, LayerBytes

_SMALLEST_DUPLICATE_BYTES = 64


def contents(path: Path) -> Contents:
    """Reads every stored tensor of the file once.

    Raises:
        ModelRejectedError: The file is unusable.
    """
    model = models.load(path)
    layers: dict[tuple[str, str], int] = defaultdict(int)
    seen: set[tuple[str, tuple[object, ...], bytes]] = set()
    duplicated = orphaned = 0
    for tensor, reader in _stored(model):
        if reader is None:
            orphaned += tensor.nbytes
        else:
            layers[reader.name or str(reader.outputs[0].name), reader.op_type] += tensor.nbytes
        if tensor.nbytes >= _SMALLEST_DUPLICATE_BYTES:
            key = (models.dtype_name(tensor.dtype), tuple(tensor.shape), hashlib.sha256(tensor.tobytes()).digest())
            duplicated += tensor.nbytes if key in seen else 0
            seen.add(key)
    rows = (LayerBytes(name, op_type, count) for (name, op_type), count in layers.items() if count)
    return Contents(
        bytes_by_dtype=bytes_by_dtype(model),
        layers=tuple(sorted(rows, key=lambda row: -row.size_bytes)),
        duplicated_bytes=duplicated,
        orphaned_bytes=orphaned + _unreferenced(model, path),
    )


def bytes_by_dtype(model: ir.Model) -> dict[str, int]:
    """Bytes of every stored tensor by element type, largest first: initializers and Constant nodes, bodies included."""
    found: dict[str, int] = defaultdict(int)
    for tensor, _ in _stored(model):
        found[models.dtype_name(tensor.dtype)] += tensor.nbytes
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _stored(model: ir.Model) -> Iterator[tuple[ir.TensorProtocol, ir.Node | None]]:
    """Every stored tensor with the node that reads it; None where nothing does."""
    for graph in model.graphs():
        for value in graph.initializers.values():
            if value.const_value is not None:
                reader = next((use.node for use in value.uses()), None)
                if reader is None and value in graph.outputs:
                    reader = next(iter(graph), None)
                yield value.const_value, reader
    for node in nodes(model):
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.TENSOR and not attribute.is_ref():
                reader = next((use.node for use in node.outputs[0].uses()), node)
                yield attribute.as_tensor(), reader


def _unreferenced(model: ir.Model, path: Path) -> int:
    """Bytes of the external data files that no tensor refers to, but for gaps of less than a page (alignment)."""
    ranges: dict[Path, list[tuple[int, int]]] = {file: [] for file in models.data_files(path)}
    for tensor, _ in _stored(model):
        if isinstance(tensor, ir.ExternalTensor):
            begin = tensor.offset or 0
            file = next(file for file in ranges if file.samefile(path.parent / tensor.location))
            ranges[file].append((begin, begin + (tensor.length or tensor.nbytes)))
    return sum(_gaps(found, file.stat().st_size) for file, found in ranges.items())


def _gaps(ranges: list[tuple[int, int]], end: int, page: int = 1 << 16) -> int:
    total = at = 0
    for begin, stop in [*sorted(ranges), (end, end)]:
        total += begin - at if begin - at >= page else 0
        at = max(at, stop)
    return total
