"""ONNX test data is read as complete feeds, tensors, sequences and optionals alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from deploycompress import data
from deploycompress.errors import DataRejectedError
from deploycompress.records.signature import Signature, TensorSpec

Takes = Callable[..., Signature]
A, B = np.arange(6, dtype=np.float32).reshape(2, 3), np.array([1, 2], np.int64)


def write(case: Path, *values: onnx.TensorProto | onnx.SequenceProto | onnx.OptionalProto) -> None:
    case.mkdir(parents=True, exist_ok=True)
    for number, value in enumerate(values):
        (case / f"input_{number}.pb").write_bytes(value.SerializeToString())


@pytest.mark.parametrize("dims", [("n", 3), (2, 3)])
def test_cases_are_complete_feeds_by_input_order(tmp_path: Path, takes: Takes, dims: tuple[int | str, ...]) -> None:
    signature = takes(a=("float32", *dims), b=("int64", dims[0]))
    for number in (0, 2, 10):
        write(tmp_path / f"test_data_set_{number}", numpy_helper.from_array(A + number), numpy_helper.from_array(B))
    samples = data.open(str(tmp_path), signature)
    assert [sample.name for sample in samples] == ["test_data_set_0", "test_data_set_2", "test_data_set_10"]
    for sample, number in zip(samples, (0, 2, 10), strict=True):
        np.testing.assert_array_equal(sample.feed["a"], A + number)
        np.testing.assert_array_equal(sample.feed["b"], B)
    assert [len(batch.names) for batch in samples.batches(8)] == [1, 1, 1]


def test_folder_of_a_model_with_its_inputs_is_one_case(tmp_path: Path, takes: Takes) -> None:
    write(tmp_path, numpy_helper.from_array(A))
    (tmp_path / "model.onnx").touch()
    assert len(data.open(str(tmp_path), takes(a=("float32", "n", 3)))) == 1


def test_sequences_and_optionals_are_read(tmp_path: Path) -> None:
    tensors = [numpy_helper.from_array(A), numpy_helper.from_array(A + 1)]
    sequence = onnx.SequenceProto(elem_type=onnx.SequenceProto.TENSOR, tensor_values=tensors)
    optional = onnx.OptionalProto(elem_type=onnx.OptionalProto.TENSOR, tensor_value=tensors[0])
    nested = onnx.OptionalProto(elem_type=onnx.OptionalProto.SEQUENCE, sequence_value=sequence)
    empty = onnx.OptionalProto(elem_type=onnx.OptionalProto.TENSOR)
    write(tmp_path, sequence, optional, nested, empty)
    signature = Signature(tuple(TensorSpec(name, "", None) for name in "sone"), ())
    (sample,) = data.open(str(tmp_path), signature)
    for name in "sn":
        np.testing.assert_array_equal(sample.feed[name], [A, A + 1])
    np.testing.assert_array_equal(sample.feed["o"], A)
    assert sample.feed["e"] is None


def test_strings_are_read(tmp_path: Path, takes: Takes) -> None:
    write(tmp_path, numpy_helper.from_array(np.array([["a", "bé"]], object)))
    (sample,) = data.open(str(tmp_path), takes(s=("str", 1, 2)))
    assert sample.feed["s"].tolist() == [["a", "bé"]]


def test_damaged_cases_are_listed(tmp_path: Path, takes: Takes) -> None:
    for number in range(5):
        write(tmp_path / f"test_data_set_{number}", numpy_helper.from_array(A))
    (tmp_path / "test_data_set_1" / "input_0.pb").write_bytes(b"\xff\xff")
    (tmp_path / "test_data_set_2" / "input_1.pb").touch()
    outside = onnx.TensorProto(data_type=1, dims=[2, 3], data_location=onnx.TensorProto.EXTERNAL)
    outside.external_data.add(key="location", value="/etc/passwd")
    write(tmp_path / "test_data_set_3", outside)
    write(tmp_path / "test_data_set_4", onnx.TensorProto(data_type=1, dims=[2**40, 2**40], raw_data=b"1234"))
    samples = data.open(str(tmp_path), takes(a=("float32", "n", 3)))
    assert len(samples) == 1
    reasons = {skipped.path: skipped.reason for skipped in samples.skipped}
    assert "input_0.pb is damaged" in reasons["test_data_set_1"]
    assert reasons["test_data_set_2"] == "it has 2 input files for 1 inputs"
    assert reasons["test_data_set_3"] == "input_0.pb keeps its data in another file, which is not read"
    assert "input_0.pb is damaged" in reasons["test_data_set_4"]


def test_wrong_shape_is_refused(tmp_path: Path, takes: Takes) -> None:
    write(tmp_path, numpy_helper.from_array(A))
    with pytest.raises(DataRejectedError, match=r"input 'a' has shape \[2, 3\], the model takes \[2, 4\]"):
        data.open(str(tmp_path), takes(a=("float32", 2, 4)))
