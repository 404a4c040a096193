"""(graph without weights, weights) -> protobuf file, and back, one weight in memory at a time.

A protobuf message is a run of fields `tag, length, bytes`. An initializer is field 5 of GraphProto, which is field 7 of
ModelProto; raw data is field 9 of TensorProto. All lengths are known before the weights are, so a file is written (and
its frame read back) without ever holding the message.

Source: Protocol Buffers encoding (wire types, base-128 varints, repeated fields in any order); onnx.proto, field
numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO, Protocol

import onnx

from deploycompress.errors import InvalidOutputError
from deploycompress.records.progress import Track, silent

GRAPH, INITIALIZER, RAW_DATA = 7, 5, 9
_LENGTH_DELIMITED = 2
_FIXED_BYTES = {1: 8, 5: 4}  # wire type -> bytes of a fixed-width value


class Writer(Protocol):
    """Whatever takes bytes."""

    def write(self, data: bytes, /) -> int:
        """Writes all of `data`."""
        ...


def write(
    sink: Writer,
    proto: onnx.ModelProto,
    weight_bytes: Mapping[str, int],
    write_weight: Callable[[str], None],
    track: Track = silent,
) -> None:
    """Writes `proto` to `sink`, with the raw data of some initializers spliced in.

    Args:
        sink: Where the file goes.
        proto: The model; the initializers named in `weight_bytes` carry no data.
        weight_bytes: Bytes of raw data by initializer name.
        write_weight: Writes exactly that many bytes of the named initializer to `sink`.
        track: Shows progress.
    """
    frame = onnx.ModelProto()
    frame.CopyFrom(proto)
    frame.graph.ClearField("initializer")
    graph = frame.graph.SerializeToString()
    frame.ClearField("graph")

    heads = [(tensor.name, tensor.SerializeToString()) for tensor in proto.graph.initializer]
    raw = {name: _field_bytes(RAW_DATA, size) for name, size in weight_bytes.items()}
    sizes = [len(head) + raw.get(name, 0) for name, head in heads]
    sink.write(frame.SerializeToString())
    sink.write(_tag(GRAPH) + _varint(len(graph) + sum(_field_bytes(INITIALIZER, size) for size in sizes)))
    sink.write(graph)
    for (name, head), size in track(zip(heads, sizes, strict=True), "writing weights", len(heads)):
        sink.write(_tag(INITIALIZER) + _varint(size) + head)
        if name in weight_bytes:
            sink.write(_tag(RAW_DATA) + _varint(weight_bytes[name]))
            write_weight(name)


def read_frame(path: Path) -> tuple[onnx.ModelProto, dict[str, int]]:
    """The model in `path` without the raw data of its initializers, and the bytes of that data by initializer name.

    Raises:
        InvalidOutputError: The file is not a complete protobuf.
    """
    frame, weights = bytearray(), {}
    with path.open("rb") as file:
        end = path.stat().st_size
        while file.tell() < end:
            number, wire, length = _field(file, frame, end, keep=lambda number: number != GRAPH)
            if number != GRAPH or wire != _LENGTH_DELIMITED:
                continue
            graph, graph_end = bytearray(), file.tell() + length
            while file.tell() < graph_end:
                number, wire, length = _field(file, graph, graph_end, keep=lambda number: number != INITIALIZER)
                if number == INITIALIZER and wire == _LENGTH_DELIMITED:
                    tensor, raw_bytes = _tensor_frame(file, file.tell() + length)
                    if raw_bytes is not None:
                        weights[onnx.TensorProto.FromString(bytes(tensor)).name] = raw_bytes
                    graph += _tag(INITIALIZER) + _varint(len(tensor)) + tensor
            frame += _tag(GRAPH) + _varint(len(graph)) + graph
    return onnx.ModelProto.FromString(bytes(frame)), weights


def _tensor_frame(file: BinaryIO, end: int) -> tuple[bytearray, int | None]:
    tensor, raw_bytes = bytearray(), None
    while file.tell() < end:
        number, _, length = _field(file, tensor, end, keep=lambda number: number != RAW_DATA)
        if number == RAW_DATA:
            raw_bytes = length
            file.seek(length, 1)
    return tensor, raw_bytes


def _field(file: BinaryIO, into: bytearray, end: int, *, keep: Callable[[int], bool]) -> tuple[int, int, int]:
    """Reads a field up to its content, copying it whole `into` where `keep` says so: (number, wire type, bytes)."""
    tag = _read_varint(file)
    number, wire = tag >> 3, tag & 7
    if wire == 0:
        into += _varint(tag) + _varint(_read_varint(file))
        return number, wire, 0
    length = _read_varint(file) if wire == _LENGTH_DELIMITED else _FIXED_BYTES.get(wire, -1)
    if length < 0 or file.tell() + length > end:
        raise InvalidOutputError("the written file is not a complete protobuf", where=str(getattr(file, "name", "")))
    if wire != _LENGTH_DELIMITED:
        into += _varint(tag) + file.read(length)
    elif keep(number):
        into += _varint(tag) + _varint(length) + file.read(length)
    return number, wire, length


def _tag(number: int) -> bytes:
    return _varint(number << 3 | _LENGTH_DELIMITED)


def _field_bytes(number: int, length: int) -> int:
    return len(_tag(number)) + len(_varint(length)) + length


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(file: BinaryIO) -> int:
    value = shift = 0
    while True:
        byte = file.read(1)
        if not byte or shift > 63:
            raise InvalidOutputError(
                "the written file is not a complete protobuf", where=str(getattr(file, "name", ""))
            )
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
        shift += 7
