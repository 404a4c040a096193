"""file -> onnx_ir.Model whose external weights stay on disk (memory mapped), after every check that needs no trust.

Order: what kind of file it is (`sniff`), protobuf without external data, sizes declared against sizes present
(`inline`), external-data entries (`external`), and only then the graph. Each refusal is one line and exit code 4.

Source: ONNX IR specification; CVE-2022-25882, -2024-27318, -2026-27489, -2026-34445, -2026-34446.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from deploycompress.errors import ModelRejectedError, UnsupportedError
from deploycompress.model import inline, protos, sniff
from deploycompress.model.external import DataFile, Folders
from deploycompress.model.tensors import slots

INITIALIZERS_NEED_NO_INPUT_IR = 4


def load(path: Path) -> ir.Model:
    """Reads the model at `path`; its external weights are mapped, not read.

    Raises:
        ModelRejectedError: The file is missing, damaged, hostile, or holds no graph.
    """
    path = Path(path)
    proto = parse(sniff.read(path), path)
    files = check_tensors(proto, path)
    try:
        model = ir.serde.deserialize_model(proto)
    except Exception as error:  # the graph library raises every class of error on a hostile file
        raise ModelRejectedError(f"its graph is invalid: {_innermost(error)}", where=str(path)) from error
    _map_weights(model, files)
    _check_graph(model, path)
    _name_standard_domain_once(model)
    _drop_constant_inputs(model)
    return model


def parse(content: bytes, path: Path) -> onnx.ModelProto:
    """Parses a model without touching external data.

    Raises:
        ModelRejectedError: Not a complete ONNX protobuf, or one without a graph or an opset import.
    """
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(content)
    except DecodeError as error:
        raise ModelRejectedError(
            "it is not a complete ONNX protobuf (truncated, or not a model at all)",
            where=str(path),
            remedy="fetch or export it again",
        ) from error
    if not proto.HasField("graph"):
        raise ModelRejectedError("it holds no graph", where=str(path), remedy="fetch or export it again")
    if not proto.opset_import:
        raise ModelRejectedError(
            "it names no opset, so its operators have no meaning", where=str(path), remedy="export the model again"
        )
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info):
        if value.type.HasField("map_type"):
            raise ModelRejectedError(
                f"{value.name!r} is a map, not a tensor",
                where=str(path),
                remedy="export it without ZipMap (zipmap=False)",
            )
    return proto


def check_tensors(proto: onnx.ModelProto, path: Path) -> Mapping[str, DataFile]:
    """Checks every tensor against the data that exists for it; returns the data files by location as written.

    Raises:
        ModelRejectedError: A tensor's declared size and its data disagree, or its external data is not allowed.
    """
    folders = Folders(path)
    try:
        for where, tensor in protos.tensors(proto):
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                folders.check(tensor, where)
            else:
                inline.check(tensor, where)
    except ModelRejectedError as error:
        raise ModelRejectedError(error.what, where=str(path), remedy=error.remedy) from error
    if len({file.folder for file in folders.files.values()}) > 1:
        raise ModelRejectedError(
            "its data files lie in two folders", where=str(path), remedy="copy them all next to the model"
        )
    return folders.files


def weights_dir(model: ir.Model) -> Path | None:
    """The folder that the external weights of `model` are relative to, or None where it has none."""
    found = {Path(slot.tensor.base_dir) for slot in slots(model) if isinstance(slot.tensor, ir.ExternalTensor)}
    if len(found) > 1:
        raise UnsupportedError(
            f"the weights lie in several folders ({', '.join(sorted(map(str, found)))})",
            remedy="save the model to one file first",
        )
    return next(iter(found), None)


def _map_weights(model: ir.Model, files: Mapping[str, DataFile]) -> None:
    """Points every external tensor at its resolved file, with offset and length written out."""
    for slot in slots(model):
        tensor = slot.tensor
        if isinstance(tensor, ir.ExternalTensor):
            file = files[str(tensor.location)]
            slot.put(
                ir.ExternalTensor(
                    file.location,
                    tensor.offset or 0,
                    tensor.nbytes,
                    tensor.dtype,
                    shape=ir.Shape(tensor.shape.numpy()),
                    name=tensor.name,
                    doc_string=tensor.doc_string,
                    metadata_props=dict(tensor.metadata_props),
                    base_dir=file.folder,
                )
            )


def _check_graph(model: ir.Model, path: Path) -> None:
    """Refuses names that nothing defines; the graph library keeps them as dangling values."""
    for node in model.graph.all_nodes():
        for value in node.inputs:
            if value is not None and not _is_defined(value):
                raise ModelRejectedError(
                    f"{node.op_type} node {node.name!r} reads {value.name!r}, which nothing produces", where=str(path)
                )
    for value in model.graph.outputs:
        if not _is_defined(value):
            raise ModelRejectedError(f"nothing produces the graph output {value.name!r}", where=str(path))


def _is_defined(value: ir.Value) -> bool:
    return value.producer() is not None or value.is_graph_input() or value.is_initializer()


def _name_standard_domain_once(model: ir.Model) -> None:
    """The standard operators are domain "" everywhere; "ai.onnx" is another spelling of the same."""
    for imports in (model.graph.opset_imports, *(function.opset_imports for function in model.functions.values())):
        if "ai.onnx" in imports:
            imports[""] = max(imports.pop("ai.onnx"), imports.get("", 0))


def _drop_constant_inputs(model: ir.Model) -> None:
    """Before IR 4 every initializer had to be listed as an input, and ONNX Runtime takes those as constants."""
    if model.ir_version >= INITIALIZERS_NEED_NO_INPUT_IR:
        return
    graph = model.graph
    graph.inputs[:] = [value for value in graph.inputs if value.name not in graph.initializers]
    model.ir_version = INITIALIZERS_NEED_NO_INPUT_IR


def _innermost(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."
