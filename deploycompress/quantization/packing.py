"""codes of 8, 4 or 2 bits <-> the bytes ONNX stores: element 0 in the lowest bits of the first byte, no gaps.

Source: onnx.proto, `TensorProto.raw_data` (4- and 2-bit types are packed two and four to a byte, lowest bits first).
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

_DTYPES = {
    (8, True): ir.DataType.INT8,
    (8, False): ir.DataType.UINT8,
    (4, True): ir.DataType.INT4,
    (4, False): ir.DataType.UINT4,
    (2, True): ir.DataType.INT2,
    (2, False): ir.DataType.UINT2,
}


def code_dtype(bits: int, *, signed: bool) -> ir.DataType:
    """Element type of codes so wide."""
    return _DTYPES[bits, signed]


def pack(codes: NDArray[np.integer], bits: int) -> NDArray[np.uint8]:
    """The bytes [ceil(n bits / 8)] of codes of any shape, signed ones in two's complement."""
    flat = np.ascontiguousarray(codes).reshape(-1).astype(np.int8, copy=False).view(np.uint8)
    if bits == 8:
        return flat
    per_byte = 8 // bits
    flat = np.pad(flat, (0, -flat.size % per_byte))
    if bits == 4:
        pairs = flat.view("<u2")
        return ((pairs & 0x0F) | (pairs >> 4 & 0xF0)).astype(np.uint8)
    fours = flat.view("<u4")
    return (fours & 0x03 | fours >> 6 & 0x0C | fours >> 12 & 0x30 | fours >> 18 & 0xC0).astype(np.uint8)


def unpack(packed: NDArray[np.uint8], bits: int, shape: tuple[int, ...], *, signed: bool) -> NDArray[np.integer]:
    """Codes, int8 or uint8, of the given shape."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    codes: NDArray[np.uint8] = (packed.reshape(-1, 1) >> shifts & (2**bits - 1)).astype(np.uint8)
    codes = codes.reshape(-1)[: math.prod(shape)].reshape(shape)
    gap = 8 - bits  # shifted to the top and back, the sign spreads
    return np.right_shift((codes << gap).view(np.int8), gap) if signed else codes


def stored(codes: NDArray[np.integer], bits: int, *, name: str) -> ir.TensorProtocol:
    """The tensor of signed or unsigned codes, by their numpy type, as a file holds it."""
    dtype = code_dtype(bits, signed=bool(np.issubdtype(codes.dtype, np.signedinteger)))
    if bits == 8:
        return ir.Tensor(np.ascontiguousarray(codes), dtype=dtype, name=name)
    return ir.PackedTensor(pack(codes, bits), dtype, shape=ir.Shape(codes.shape), name=name)
