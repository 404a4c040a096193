"""ONNX test data, `test_data_set_*/input_<n>.pb` -> complete feeds, by the order of the graph inputs.

A file holds a TensorProto; for an input that is not a tensor, a SequenceProto or OptionalProto. These two are the same
bytes when they hold one tensor, so the type name that the signature lacks is settled by the count: one value is the
content of an optional, several are a sequence.

Source: onnx/docs/OnnxBackendTest.md; onnx-data.proto.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import numpy_helper

from deploycompress.data.source import Files, Part, Raw, Unusable, relative_name
from deploycompress.records.signature import Signature, TensorSpec

_INPUT = re.compile(r"input_(\d+)\.pb")


def find(folder: Path) -> list[Path]:
    """The folders of one test case each: `folder` itself or its `test_data_set_*`."""
    sets = [path for path in folder.glob("test_data_set_*") if path.is_dir() and any(path.glob("input_*.pb"))]
    if any(folder.glob("input_*.pb")):
        sets.append(folder)
    return sorted(sets, key=lambda path: [int(n) if n.isdecimal() else n for n in re.split(r"(\d+)", path.name)])


def from_folders(cases: Sequence[Path], folder: Path, signature: Signature) -> Files:
    """One complete feed a folder."""

    def part(case: Path) -> Part:
        name = relative_name(case, folder) if case != folder else folder.name

        def read(wanted: Sequence[int]) -> Iterator[Raw | Unusable]:
            del wanted
            files = {int(m[1]): path for path in case.iterdir() if (m := _INPUT.fullmatch(path.name))}
            if len(files) != len(signature.inputs):
                raise Unusable(f"it has {len(files)} input files for {len(signature.inputs)} inputs")
            ordered = [files[number] for number in sorted(files)]
            arrays = {s.name: _value(path, s) for s, path in zip(signature.inputs, ordered, strict=True)}
            yield Raw(arrays, None, name, whole=True)

        return Part(name, 1, read)

    return Files(tuple(part(case) for case in cases))


def _value(path: Path, spec: TensorSpec) -> Any:  # noqa: ANN401 - an array, a list, or None
    try:
        content = path.read_bytes()
        if spec.dtype:
            return _array(onnx.TensorProto.FromString(content), path)
        sequence = onnx.SequenceProto.FromString(content)
        if sequence.elem_type == onnx.SequenceProto.TENSOR or not sequence.elem_type:
            values = [_array(tensor, path) for tensor in sequence.tensor_values]
            return values[0] if len(values) == 1 else values or None
        if sequence.elem_type == onnx.SequenceProto.SEQUENCE and len(sequence.sequence_values) == 1:
            return [_array(tensor, path) for tensor in sequence.sequence_values[0].tensor_values]
    except (DecodeError, OSError, ValueError, TypeError) as error:
        raise Unusable(f"{path.name} is damaged ({' '.join(str(error).split())})") from error
    raise Unusable(f"{path.name} holds neither a tensor nor a sequence or optional of tensors")


def _array(tensor: onnx.TensorProto, path: Path) -> Any:  # noqa: ANN401 - numpy, ml_dtypes or strings
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        raise Unusable(f"{path.name} keeps its data in another file, which is not read")
    array = numpy_helper.to_array(tensor)
    return array.astype(str).astype(object) if tensor.data_type == onnx.TensorProto.STRING else array
