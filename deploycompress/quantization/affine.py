"""x -> q = clamp(round_half_even(x / s) + z, qmin, qmax);  x' = s (q - z). The only place where these formulas stand.

Asymmetric: lo = min(x, 0), hi = max(x, 0), s = (hi - lo) / (qmax - qmin), z = round(qmin - lo / s).
Symmetric:  s = max(hi / qmax, lo / qmin), z = 0 (signed) or the middle (unsigned). Of int8 and int16 the lowest code is
left out, so there s = max|x| / qmax.
Codes of b bits are [0, 2^b - 1], or [-2^(b-1), 2^(b-1) - 1] where symmetric. One scale serves a tensor, a channel, or a
block of neighbours along an axis.
Zero is always a code, and a scale is never zero.

Source: ONNX QuantizeLinear and DequantizeLinear; Jacob et al., CVPR 2018, section 2.1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

Codes = Literal["uint8", "int8", "uint16", "int16"]
_Number = TypeVar("_Number", bound=np.generic)
MIN_SCALE = 1e-8  # smaller scales lose precision in float32 products with a weight scale
PAIR_LIMIT = 128  # of the sum of two weight codes of one sign, for kernels that add two products in 16 bits
_INT32_MAX = 2**31 - 1
_SLAB = 1 << 18  # elements of a weight that are worked on together: temporary arrays stay small


@dataclass(frozen=True)
class Grid:
    """A uniform 8- or 16-bit grid for a whole tensor.

    Attributes:
        scale: Step between neighbouring codes, a float32 value.
        zero_point: The code of 0.0.
        dtype: Element type of the codes.
    """

    scale: float
    zero_point: int
    dtype: Codes

    @property
    def low(self) -> float:
        """Smallest value on the grid."""
        return self.scale * (int(np.iinfo(self.dtype).min) - self.zero_point)

    @property
    def high(self) -> float:
        """Largest value on the grid."""
        return self.scale * (int(np.iinfo(self.dtype).max) - self.zero_point)


@dataclass(frozen=True)
class QuantizedTensor:
    """Codes that travel with their scale and zero point.

    Attributes:
        codes: Integer array of the shape of the tensor.
        scale: float32, scalar or [channels]; with blocks, the shape of `codes` but for an entry a block along `axis`.
        zero_point: Of the dtype of `codes` and the shape of `scale`.
        axis: Channel axis, or None for one scale for the whole tensor; with blocks, the axis they lie along.
        block: Elements along `axis` that share a scale, the last block may be shorter; None without blocks.
        bits: Width of a code as it is stored.
    """

    codes: NDArray[np.integer]
    scale: NDArray[np.float32]
    zero_point: NDArray[np.integer]
    axis: int | None
    block: int | None = None
    bits: int = 8

    def dequantize(self) -> NDArray[np.float32]:
        """The float32 values the codes stand for."""
        scale, zero = self._over_codes(self.scale), self._over_codes(self.zero_point)
        offset: NDArray[np.int64] = self.codes.astype(np.int64) - zero.astype(np.int64)
        return (offset * scale).astype(np.float32)

    def _over_codes(self, values: NDArray[_Number]) -> NDArray[_Number]:
        if self.block is None:
            return _along(values, self.axis, self.codes.ndim)
        assert self.axis is not None
        owner = np.arange(self.codes.shape[self.axis]) // self.block
        return np.take(values, owner, axis=self.axis)


def code_range(bits: int, *, symmetric: bool) -> tuple[int, int]:
    """Smallest and largest code of so many bits; symmetric ones are signed, and of int8 -128 is left out."""
    if not symmetric:
        return 0, 2**bits - 1
    high = 2 ** (bits - 1) - 1
    return (-high if bits == 8 else -high - 1), high


def fit(
    low: NDArray[np.floating], high: NDArray[np.floating], qmin: int, qmax: int, *, symmetric: bool
) -> tuple[NDArray[np.float32], NDArray[np.integer]]:
    """Scales and zero points of the grids that span [low, high], widened to contain zero; all of one shape."""
    low, high = np.minimum(low, 0.0), np.maximum(high, 0.0)
    if symmetric:
        scale = _floored(np.maximum(high / qmax, low / qmin))
        return scale, np.zeros(scale.shape, np.int64)
    scale = _floored((high - low) / (qmax - qmin))
    return scale, np.clip(np.rint(qmin - low / scale), qmin, qmax).astype(np.int64)


def encode(
    values: NDArray[np.floating],
    scale: NDArray[np.float32],
    zero_point: NDArray[np.integer] | int,
    qmin: int,
    qmax: int,
) -> NDArray[np.float32]:
    """Codes of `values`, still as float32, as QuantizeLinear computes them (float32 division, ties to even)."""
    codes = np.rint(values.astype(np.float32, copy=False) / scale) + np.asarray(zero_point, np.float32)
    clipped: NDArray[np.float32] = np.clip(codes, qmin, qmax)
    return clipped


def grid(low: float, high: float, dtype: Codes, *, symmetric: bool) -> Grid:
    """The grid that spans [low, high], widened to contain zero."""
    qmin, qmax = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    if not symmetric:
        scale, zero_point = fit(np.array(low), np.array(high), qmin, qmax, symmetric=False)
        return Grid(float(scale), int(zero_point), dtype)
    half = (qmax - qmin) // 2  # 127 or 32767
    scale, _ = fit(np.array(low), np.array(high), -half, half, symmetric=True)
    return Grid(float(scale), qmax - half, dtype)


def quantize(values: NDArray[np.floating], to: Grid) -> NDArray[np.integer]:
    """Codes of `values` on a grid."""
    info = np.iinfo(to.dtype)
    codes = encode(values, np.array(to.scale, np.float32), to.zero_point, info.min, info.max)
    return codes.astype(to.dtype)


def quantize_weight(
    weight: NDArray[np.floating], axis: int | None, *, min_scale: NDArray[np.floating] | float = 0.0
) -> QuantizedTensor:
    """Symmetric int8 codes of a weight, in [-127, 127].

    Args:
        weight: Any shape.
        axis: Output-channel axis for one scale a channel, or None for one scale.
        min_scale: Lower bound of the scale, [channels] or scalar: where a bias must stay representable, or where
            neighbouring codes must not saturate a kernel (`pair_safe_scale`).
    """
    scale = symmetric_scale(weight, axis, min_scale=min_scale)
    return QuantizedTensor(symmetric_codes(weight, scale, axis), scale, np.zeros(scale.shape, np.int8), axis)


def symmetric_scale(
    weight: NDArray[np.floating], axis: int | None, *, min_scale: NDArray[np.floating] | float = 0.0
) -> NDArray[np.float32]:
    """Scale of the symmetric int8 codes of a weight, [channels] or scalar; see `quantize_weight`."""
    others = None if axis is None else tuple(i for i in range(weight.ndim) if i != axis % weight.ndim)
    low, high = (np.asarray(of(axis=others, initial=0.0), np.float64) for of in (weight.min, weight.max))
    fitted, _ = fit(low, high, -127, 127, symmetric=True)
    scale: NDArray[np.float32] = np.maximum(fitted, min_scale).astype(np.float32)
    return scale


def symmetric_codes(weight: NDArray[np.floating], scale: NDArray[np.float32], axis: int | None) -> NDArray[np.int8]:
    """Codes in [-127, 127] of a weight at `symmetric_scale`, computed a slab of its first axis at a time."""
    over = np.broadcast_to(_along(scale, axis, weight.ndim), weight.shape)
    codes = np.empty(weight.shape, np.int8)
    for slab in _slabs(weight):
        codes[slab] = encode(weight[slab], over[slab], 0, -127, 127)
    return codes


def pair_safe_scale(weight: NDArray[np.floating], *, depthwise: bool = False) -> NDArray[np.float64]:
    """Smallest scale per output channel [O] with which no pair of products saturates 16 bits.

    `vpmaddubsw` computes a0 w0 + a1 w1 in 16 bits with a <= 255. Products of opposite sign cannot overflow; of one
    sign they do not where |w0| + |w1| <= `PAIR_LIMIT`, since 255 * 128 = 32640 <= 32767. Dividing the largest pair sum
    by 127 leaves one code for the two roundings.

    Args:
        weight: See `largest_pair_sums`.
        depthwise: See `largest_pair_sums`.

    Source: Intel intrinsics guide, `_mm256_maddubs_epi16`.
    """
    return largest_pair_sums(weight, depthwise=depthwise) / (PAIR_LIMIT - 1)


def largest_pair_sums(weight: NDArray[np.generic], *, depthwise: bool = False) -> NDArray[np.float64]:
    """Largest |w0| + |w1| of two neighbours of one sign along the inner axis, per output channel [O].

    Depthwise kernels widen to 16 bits first and have no pairs: zeros.

    Args:
        weight: [O, I, ...]; Gemm and MatMul weights as [N, K]. The inner order of a convolution depends on the layout
            the runtime chooses, so both channel-first and channel-last pairs are looked at.
        depthwise: Whether each input channel has one output channel of its own.

    Source: MLAS packs the inner axis in groups of four from 0.
    """
    largest = np.zeros(weight.shape[0])
    if depthwise:
        return largest
    for ordered in (weight, np.moveaxis(weight, 1, -1)) if weight.ndim > 2 else (weight,):
        flat = ordered.reshape(weight.shape[0], -1)
        for slab in _slabs(flat):
            rows = flat[slab].astype(np.float64)
            pairs = np.pad(rows, ((0, 0), (0, rows.shape[1] % 2))).reshape(len(rows), -1, 2)
            for side in (pairs, -pairs):
                sums = np.maximum(side, 0.0).sum(axis=2).max(axis=1, initial=0.0)
                largest[slab] = np.maximum(largest[slab], sums)
    return largest


def min_weight_scale(bias: NDArray[np.floating], input_scale: float) -> NDArray[np.float64]:
    """Smallest weight scale a channel [channels] with which `bias / (input_scale * scale)` fits int32.

    A channel whose weights are (almost) zero has no scale of its own, and its bias would overflow.
    """
    return np.abs(bias.astype(np.float64)) / (input_scale * (_INT32_MAX // 2))


def quantize_bias(
    bias: NDArray[np.floating], input_scale: float, weight_scale: NDArray[np.floating]
) -> QuantizedTensor:
    """int32 codes of a bias [channels] on the grid of the accumulator, scale = input_scale * weight_scale."""
    scale = np.broadcast_to(np.float32(input_scale) * weight_scale.astype(np.float32), bias.shape).astype(np.float32)
    codes = np.clip(np.rint(bias.astype(np.float64) / scale.astype(np.float64)), -_INT32_MAX, _INT32_MAX)
    return QuantizedTensor(codes.astype(np.int32), scale, np.zeros(bias.shape, np.int32), 0)


def _slabs(weight: NDArray[np.generic]) -> Iterator[slice]:
    """Stretches of the first axis of `_SLAB` elements, or of one row."""
    rows = max(1, _SLAB // max(1, math.prod(weight.shape[1:])))
    for start in range(0, len(weight), rows):
        yield slice(start, start + rows)


def _floored(scale: NDArray[np.floating]) -> NDArray[np.float32]:
    floored: NDArray[np.float32] = np.maximum(scale, MIN_SCALE).astype(np.float32)
    return floored


def _along(values: NDArray[_Number], axis: int | None, rank: int) -> NDArray[_Number]:
    if axis is None or values.ndim == 0:
        return values
    shape = [1] * rank
    shape[axis % rank] = -1
    return values.reshape(shape)
