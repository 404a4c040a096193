"""weight [K, N] -> codes of 8, 4 or 2 bits, with a scale for each block of neighbours along K or for each channel.

    uniform   s, z from the extremes of the block                       code = round(w / s) + z
    ternary   D = 0.7 mean|w|,  a = mean of |w| over |w| > D            w -> {-a, 0, a}
    binary    a = mean|w|                                               w -> {-a, a}, 0 goes up

Ternary and binary codes are signed, {-1, 0, 1} and {-1, 1}, with scale a: any container of two bits or more holds them
exactly. Work is done a slab of rows at a time, so that temporary arrays stay in cache however large the weight is.

Source: Li et al., Ternary Weight Networks, 2016 (arXiv:1605.04711) equation 6; Rastegari et al., XNOR-Net, ECCV 2016
(arXiv:1603.05279) section 3.1; `affine` for the uniform grid.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deploycompress.quantization.affine import QuantizedTensor, code_range, encode, fit
from deploycompress.quantization.spec import WeightSpec

_SLAB_ROWS = 64  # of a weight with one scale a channel


def quantize_blocks(weight: NDArray[np.floating], spec: WeightSpec) -> QuantizedTensor:
    """Codes [K, N] of a weight, each on its own (rounded to nearest, whatever `spec.rounding` says)."""
    scale, zero_point = grids(weight, spec)
    codes = np.empty(weight.shape, np.int8 if is_signed(spec) else np.uint8)
    rows = len(weight)
    low, high = levels_range(spec)
    reach = threshold(weight) if spec.levels == "ternary" and spec.block is None else None
    for start in range(0, rows, spec.block or _SLAB_ROWS):
        slab = slice(start, start + (spec.block or _SLAB_ROWS))
        group = 0 if spec.block is None else start // spec.block
        values = weight[slab]
        if spec.levels == "binary":
            codes[slab] = np.where(values >= 0, 1, -1)
        elif spec.levels == "ternary":
            codes[slab] = np.sign(values) * (np.abs(values) > (threshold(values) if spec.block else reach))
        else:
            codes[slab] = encode(values, scale[group], zero_point[group], low, high)
    return assembled(codes, scale, zero_point, spec)


def assembled(
    codes: NDArray[np.integer], scale: NDArray[np.float32], zero_point: NDArray[np.integer], spec: WeightSpec
) -> QuantizedTensor:
    """Codes [K, N] with their grids [G, N] as one tensor; without blocks the grids become [N]."""
    kind = np.int8 if is_signed(spec) else np.uint8
    if spec.block is None:
        return QuantizedTensor(codes.astype(kind), scale[0], zero_point[0].astype(kind), 1, bits=spec.bits)
    return QuantizedTensor(codes.astype(kind), scale, zero_point.astype(kind), 0, spec.block, spec.bits)


def grids(weight: NDArray[np.floating], spec: WeightSpec) -> tuple[NDArray[np.float32], NDArray[np.integer]]:
    """Scales and zero points [G, N] of the blocks of a weight [K, N]; G = 1 without blocks."""
    starts = range(0, len(weight), spec.block or len(weight))
    scale = np.empty((len(starts), weight.shape[1]), np.float32)
    zero_point = np.zeros(scale.shape, np.int64)
    low, high = levels_range(spec)
    for group, start in enumerate(starts):
        values = weight[start : start + (spec.block or len(weight))]
        if spec.levels == "uniform":
            found = fit(values.min(axis=0), values.max(axis=0), low, high, symmetric=spec.symmetric)
            scale[group], zero_point[group] = found
        else:
            scale[group] = _magnitude(values, spec)
    return scale, zero_point


def levels_range(spec: WeightSpec) -> tuple[int, int]:
    """Smallest and largest code in use."""
    return code_range(spec.bits, symmetric=spec.symmetric) if spec.levels == "uniform" else (-1, 1)


def is_signed(spec: WeightSpec) -> bool:
    """Whether the codes are signed."""
    return spec.symmetric or spec.levels != "uniform"


def threshold(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """0.7 mean|w| of each column: smaller weights become 0."""
    reach: NDArray[np.floating] = 0.7 * np.abs(values).mean(axis=0)
    return reach


def _magnitude(values: NDArray[np.floating], spec: WeightSpec) -> NDArray[np.floating]:
    """The a of each column; 0 where every weight is 0."""
    sizes = np.abs(values)
    kept = sizes > threshold(values) if spec.levels == "ternary" else np.ones(sizes.shape, bool)
    count = kept.sum(axis=0)
    total: NDArray[np.floating] = np.where(kept, sizes, 0.0).sum(axis=0)
    mean: NDArray[np.floating] = total / np.maximum(count, 1)
    return mean
