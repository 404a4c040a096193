"""onnx_ir.Model -> one .onnx file, or a .onnx file and one data file; atomic, verified, weights streamed.

Two files cannot be renamed at once, so the data file gets a name made from its content, `<name>.<sha256>.data`: it is
written first and clashes with nothing, then the .onnx file that refers to it is renamed over the old one, then data
files that only the old one referred to are removed. A process killed anywhere leaves the old pair or the new pair; an
orphan it leaves is removed by the next save of the same name.

The smallest sufficient IR version and opsets are stamped (see `versions`).

Source: ONNX IR specification, "External Tensor Data"; protocol buffers hold less than 2 GiB.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from deploycompress.errors import InvalidOutputError, ModelRejectedError, UnsupportedError, UsageError
from deploycompress.model import orphans, versions, wire
from deploycompress.model.atomic import HashingSink, created, plain_errors, publish, temporary
from deploycompress.model.loading import check_tensors, parse
from deploycompress.model.serializing import drop_repeated_types
from deploycompress.model.sniff import PROTOBUF_LIMIT_BYTES
from deploycompress.model.standins import external_stand_in, replaced
from deploycompress.model.tensors import Slot, slots
from deploycompress.records.progress import Track, silent

INLINE_LIMIT_BYTES = 1_500_000_000
_BULKY_BYTES = 1024  # smaller tensors are written with the graph: shapes and scalars that readers want at hand


def save(
    model: ir.Model,
    path: Path,
    *,
    external_data: bool | None = None,
    inline_limit_bytes: int = INLINE_LIMIT_BYTES,
    stamp: bool = True,
    track: Track = silent,
) -> None:
    """Writes `model` to `path`; it may be mapped from the very files that are replaced, and stays usable.

    Args:
        model: The model; its meaning is not changed.
        path: Destination; the folder must exist. A link there is replaced, not followed.
        external_data: Whether weights go to a data file beside it; by default above `inline_limit_bytes` of weights.
        inline_limit_bytes: See `external_data`.
        stamp: Whether to stamp the smallest sufficient IR version and opsets instead of the present ones.
        track: Shows progress.

    Raises:
        EnvironmentLacksError: The disk is full or the folder is missing or not writable; nothing is left behind.
        InvalidOutputError: What was written does not read back; nothing is left behind.
        UnsupportedError: More weights than one protobuf holds were asked to go into one.
        UsageError: `path` is a folder.
    """
    path = Path(path)
    if path.is_dir():
        raise UsageError("it is a folder", where=str(path), remedy="name an .onnx file in it")
    weight_bytes = sum(slot.tensor.nbytes for slot in slots(model))
    if external_data is None:
        external_data = weight_bytes > inline_limit_bytes
    elif not external_data and weight_bytes > PROTOBUF_LIMIT_BYTES:
        raise UnsupportedError("its weights do not fit in one protobuf (2 GiB)", remedy="save it with external data")
    stamped = versions.sufficient(model) if stamp else versions.Versions(model.ir_version, dict(model.opset_imports))
    with plain_errors(path):
        if external_data:
            _save_pair(model, path, stamped, track)
        else:
            _save_single(model, path, stamped, track)


def _save_single(model: ir.Model, path: Path, stamped: versions.Versions, track: Track) -> None:
    streamed = {slot.name: slot for slot in slots(model) if slot.top_level and _is_bulky(slot)}
    sizes = {name: slot.tensor.nbytes for name, slot in streamed.items()}
    stand_ins = {id(slot.tensor): external_stand_in(slot.tensor, "streamed", 0) for slot in streamed.values()}
    proto = _graph_proto(model, stamped, stand_ins)
    for tensor in proto.graph.initializer:
        if tensor.name in sizes:
            tensor.ClearField("external_data")
            tensor.ClearField("data_location")
    with temporary(path) as draft:
        with created(draft) as file:
            out = HashingSink(file)
            wire.write(out, proto, sizes, lambda name: _stream(streamed[name], out), track)
        _verify_single(draft, out.written_bytes, sizes, path)
        publish(draft, path)
    orphans.remove(model, path, keep="", moved={})


def _save_pair(model: ir.Model, path: Path, stamped: versions.Versions, track: Track) -> None:
    moved = [slot for slot in slots(model) if not slot.in_function and _is_bulky(slot)]
    offsets: dict[int, int] = {}
    with temporary(path) as draft:
        with created(draft) as file:
            out = HashingSink(file)
            for slot in track(moved, "writing weights", len(moved)):
                if id(slot.tensor) not in offsets:  # a tensor held in two places is stored once
                    offsets[id(slot.tensor)] = out.written_bytes
                    _stream(slot, out)
        data_path = orphans.data_path(path, out.hexdigest)
        is_new = not data_path.exists()
        publish(draft, data_path)
    try:
        stand_ins = {
            id(slot.tensor): external_stand_in(slot.tensor, data_path.name, offsets[id(slot.tensor)], path.parent)
            for slot in moved
        }
        proto = _graph_proto(model, stamped, stand_ins)
        if proto.ByteSize() > PROTOBUF_LIMIT_BYTES:
            raise UnsupportedError(
                "the tensors in its functions do not fit in one protobuf", remedy="inline the functions"
            )
        with temporary(path) as draft:
            with created(draft) as file:
                file.write(proto.SerializeToString())
            _verify_pair(draft, data_path, out.written_bytes, path)
            publish(draft, path)
    except BaseException:
        if is_new:
            data_path.unlink(missing_ok=True)
        raise
    orphans.remove(model, path, keep=data_path.name, moved=stand_ins)


def _is_bulky(slot: Slot) -> bool:
    return slot.tensor.dtype != ir.DataType.STRING and slot.tensor.nbytes >= _BULKY_BYTES


def _stream(slot: Slot, out: HashingSink) -> None:
    before = out.written_bytes
    slot.tensor.tofile(out)  # type: ignore[attr-defined]  # every tensor class of onnx_ir has it; the protocol omits it
    if out.written_bytes - before != slot.tensor.nbytes:
        raise InvalidOutputError(
            f"tensor {slot.name!r} gave {out.written_bytes - before} bytes, its shape needs {slot.tensor.nbytes}"
        )


def _graph_proto(
    model: ir.Model, stamped: versions.Versions, stand_ins: Mapping[int, ir.ExternalTensor]
) -> onnx.ModelProto:
    """The model as protobuf, with the stand-ins in place of their tensors and all other tensors inline."""
    with replaced(model, stand_ins):
        proto = ir.serde.serialize_model(model)
    drop_repeated_types(proto.graph)
    proto.ir_version = stamped.ir_version
    del proto.opset_import[:]
    proto.opset_import.extend(onnx.helper.make_opsetid(domain, version) for domain, version in stamped.opsets.items())
    return proto


def _verify_single(draft: Path, written_bytes: int, sizes: Mapping[str, int], path: Path) -> None:
    try:
        _, found = wire.read_frame(draft)
    except (InvalidOutputError, DecodeError) as error:
        raise InvalidOutputError("the written file does not read back", where=str(path)) from error
    wrong = [name for name, size in sizes.items() if found.get(name) != size]
    if wrong or draft.stat().st_size != written_bytes:
        raise InvalidOutputError(f"the written file lacks data {' '.join(map(repr, wrong[:3]))}", where=str(path))


def _verify_pair(draft: Path, data_path: Path, written_bytes: int, path: Path) -> None:
    try:
        check_tensors(parse(draft.read_bytes(), draft), draft)
    except ModelRejectedError as error:
        raise InvalidOutputError(f"the written file does not read back: {error.what}", where=str(path)) from error
    if data_path.stat().st_size != written_bytes:
        raise InvalidOutputError(f"the data file {data_path.name!r} lacks data", where=str(path))
