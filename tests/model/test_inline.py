"""What a tensor declares and what the file holds for it are compared before anything is allocated."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from deploycompress.errors import ModelRejectedError
from deploycompress.model import inline

NUMERIC = [t for t in TensorProto.DataType.values() if t not in (TensorProto.UNDEFINED, TensorProto.STRING)]
TYPED = [t for t in NUMERIC if not TensorProto.DataType.Name(t).startswith("FLOAT6")]  # the helper cannot build those
FIELDS = ("float_data", "int32_data", "int64_data", "uint64_data", "double_data", "string_data")


def typed(data_type: int, dims: list[int]) -> TensorProto:
    return helper.make_tensor("w", data_type, dims, np.ones(int(np.prod(dims)), int).tolist())


@given(st.sampled_from(TYPED), st.lists(st.integers(0, 5), max_size=3))
def test_tensor_in_typed_fields_is_accepted_and_one_value_less_is_not(data_type: int, dims: list[int]) -> None:
    tensor = typed(data_type, dims)
    inline.check(tensor, "w")
    field = next((name for name in FIELDS if getattr(tensor, name)), None)
    if field is not None:
        getattr(tensor, field).pop()
        with pytest.raises(ModelRejectedError, match=r"w declares .* but holds .*damaged"):
            inline.check(tensor, "w")


@given(st.sampled_from(NUMERIC), st.lists(st.integers(0, 5), max_size=3))
def test_raw_tensor_takes_the_bytes_that_onnx_says(data_type: int, dims: list[int]) -> None:
    # bits per element from the names of the types, not from the library that the code asks
    name = TensorProto.DataType.Name(data_type)
    bits = {"FLOAT": 32, "DOUBLE": 64, "BOOL": 8, "BFLOAT16": 16, "COMPLEX64": 64, "COMPLEX128": 128}.get(name)
    if bits is None:
        digits = "".join(c for c in name.removeprefix("U").removeprefix("INT").removeprefix("FLOAT") if c.isdigit())
        bits = 16 if digits.startswith("16") else int(digits[:2]) if digits[:2] in ("32", "64") else int(digits[0])
    count = -(-int(np.prod(dims)) * bits // 8)
    tensor = TensorProto(name="w", data_type=data_type, dims=dims, raw_data=bytes(count))
    inline.check(tensor, "w")
    tensor.raw_data = bytes(count + 1)
    with pytest.raises(ModelRejectedError, match=rf"\({count} bytes\) but holds {count + 1}"):
        inline.check(tensor, "w")


@pytest.mark.parametrize("raw", [True, False])
def test_huge_shape_with_little_data_is_refused(raw: bool) -> None:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2**60, 2**60])
    if raw:
        tensor.raw_data = b"1234"
    with pytest.raises(ModelRejectedError, match="but holds"):
        inline.check(tensor, "w")


@pytest.mark.parametrize("raw", [True, False])
def test_negative_dimension_is_refused(raw: bool) -> None:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[-1, -1])
    if raw:
        tensor.raw_data = b"1234"
    with pytest.raises(ModelRejectedError, match="negative dimension"):
        inline.check(tensor, "w")


def test_data_in_the_field_of_another_type_is_refused() -> None:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2], int64_data=[1, 2])
    with pytest.raises(ModelRejectedError, match=r"\(2 values\) but holds 0"):
        inline.check(tensor, "w")


@pytest.mark.parametrize(("data_type", "what"), [(0, "has no element type"), (99, "unknown element type 99")])
def test_impossible_element_type_is_refused(data_type: int, what: str) -> None:
    with pytest.raises(ModelRejectedError, match=what):
        inline.check(TensorProto(name="w", data_type=data_type, dims=[1]), "w")


def test_segmented_tensor_is_refused() -> None:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, segment=onnx.TensorProto.Segment(begin=0, end=1))
    with pytest.raises(ModelRejectedError, match="segments"):
        inline.check(tensor, "w")
