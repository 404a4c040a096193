"""declared element type x shape == data that is really in the file, checked before anything is allocated.

`bytes = ceil(prod(dims) * bits / 8)` for raw data; typed fields hold one entry an element, two for complex numbers, and
one a byte for packed 4- and 2-bit types.

Source: onnx.proto, `TensorProto` (which field stores which element type).
"""

from __future__ import annotations

import math

import onnx
import onnx_ir as ir

from deploycompress.errors import ModelRejectedError

_FIELDS: dict[str, frozenset[str]] = {
    "float_data": frozenset({"FLOAT", "COMPLEX64"}),
    "double_data": frozenset({"DOUBLE", "COMPLEX128"}),
    "int64_data": frozenset({"INT64"}),
    "uint64_data": frozenset({"UINT64", "UINT32"}),
    "string_data": frozenset({"STRING"}),
}


def element_type(tensor: onnx.TensorProto, where: str) -> ir.DataType:
    """The element type of `tensor`.

    Raises:
        ModelRejectedError: It is undefined, or not one that ONNX knows.
    """
    try:
        dtype = ir.DataType(tensor.data_type)
    except ValueError:
        raise ModelRejectedError(f"{where} has the unknown element type {tensor.data_type}") from None
    if dtype == ir.DataType.UNDEFINED:
        raise ModelRejectedError(f"{where} has no element type")
    return dtype


def declared_bytes(tensor: onnx.TensorProto, where: str) -> int:
    """Bytes that the declared shape and element type take, packed as in a file.

    Raises:
        ModelRejectedError: A dimension is negative, or the element type has no fixed size.
    """
    dtype = element_type(tensor, where)
    if any(dim < 0 for dim in tensor.dims):
        raise ModelRejectedError(f"{where} has a negative dimension: {list(tensor.dims)}")
    if dtype == ir.DataType.STRING:
        raise ModelRejectedError(f"{where} holds strings, which cannot be stored as raw bytes")
    elements: int = math.prod(tensor.dims)
    return (elements * int(dtype.bitwidth) + 7) // 8


def check(tensor: onnx.TensorProto, where: str) -> None:
    """Checks a tensor stored inside the model file.

    Raises:
        ModelRejectedError: Data and declared shape disagree.
    """
    dtype = element_type(tensor, where)
    if tensor.HasField("segment"):
        raise ModelRejectedError(f"{where} is stored in segments", remedy="export the model again")
    if tensor.HasField("raw_data"):
        expected, found, unit = declared_bytes(tensor, where), len(tensor.raw_data), "bytes"
    else:
        if any(dim < 0 for dim in tensor.dims):
            raise ModelRejectedError(f"{where} has a negative dimension: {list(tensor.dims)}")
        field = next((name for name, types in _FIELDS.items() if dtype.name in types), "int32_data")
        expected, found, unit = _entries(dtype, math.prod(tensor.dims)), len(getattr(tensor, field)), "values"
    if expected != found:
        raise ModelRejectedError(
            f"{where} declares {list(tensor.dims)} of {dtype.name.lower()} ({expected} {unit}) but holds {found}",
            remedy="the file is damaged; fetch or export it again",
        )


def _entries(dtype: ir.DataType, elements: int) -> int:
    """Entries of the typed field that stores `elements` elements."""
    if dtype in {ir.DataType.COMPLEX64, ir.DataType.COMPLEX128}:
        return 2 * elements
    if dtype != ir.DataType.STRING and dtype.bitwidth in {2, 4}:
        return math.ceil(elements * dtype.bitwidth / 8)
    return elements
