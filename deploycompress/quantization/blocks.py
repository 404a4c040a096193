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
_SHRINKS = np.linspace(1.0, 0.5, 21)


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
    scale, zero_point = _empty_grids(weight, spec)
    for group, values in enumerate(_blocks(weight, spec)):
        scale[group], zero_point[group] = _grid(values, spec)
    return scale, zero_point


def searched_grids(
    weight: NDArray[np.floating], spec: WeightSpec, importance: NDArray[np.floating]
) -> tuple[NDArray[np.float32], NDArray[np.integer]]:
    """As `grids`, with each range shrunk to where the squared error weighted by `importance` [K] is least.

    What is cut off costs more than what it saves the rest, until codes are few: at 4 bits and below it pays.

    Source: Lin et al., AWQ, MLSys 2024 (arXiv:2306.00978), section 3.2 and its code (shrinking to a half in 20 steps).
    """
    scale, zero_point = _empty_grids(weight, spec)
    low, high = levels_range(spec)
    shares = _blocks(importance[:, None], spec)
    for group, (values, share) in enumerate(zip(_blocks(weight, spec), shares, strict=True)):
        best = np.full(weight.shape[1], np.inf)
        for shrink in _SHRINKS if spec.levels == "uniform" else (1.0,):
            step, zero = _grid(values, spec, shrink)
            error = values - step * (encode(values, step, zero, low, high) - zero)
            cost = (share * error**2).sum(axis=0)
            better = cost < best
            best = np.where(better, cost, best)
            scale[group], zero_point[group] = (
                np.where(better, step, scale[group]),
                np.where(better, zero, zero_point[group]),
            )
    return scale, zero_point


def _grid(
    values: NDArray[np.floating], spec: WeightSpec, shrink: float = 1.0
) -> tuple[NDArray[np.float32], NDArray[np.integer]]:
    """Scale and zero point of each column of one block."""
    if spec.levels != "uniform":
        return _magnitude(values, spec).astype(np.float32), np.zeros(values.shape[1], np.int64)
    low, high = levels_range(spec)
    return fit(values.min(axis=0) * shrink, values.max(axis=0) * shrink, low, high, symmetric=spec.symmetric)


def _blocks(weight: NDArray[np.floating], spec: WeightSpec) -> list[NDArray[np.floating]]:
    step = spec.block or len(weight)
    return [weight[start : start + step] for start in range(0, len(weight), step)]


def _empty_grids(weight: NDArray[np.floating], spec: WeightSpec) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    shape = len(_blocks(weight, spec)), weight.shape[1]
    return np.ones(shape, np.float32), np.zeros(shape, np.int64)


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
