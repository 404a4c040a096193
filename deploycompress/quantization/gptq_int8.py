"""int8 codes of a weight, X^T X of its input -> codes on the same scales whose output error is smaller.

Each group of a convolution has a Gram matrix of its own. Rounding moves codes by a step or two. Where two neighbours
then exceed what 16-bit pair sums allow, the larger one gives way; in a convolution, whose neighbours depend on the
layout the runtime chooses, that channel keeps its nearest codes. Inputs whose weights are all zero, because a side path
reads them (`side_path`), take no error of others: the grid does not reach their values.

Source: Frantar et al., GPTQ, ICLR 2023 (arXiv:2210.17323); see `gptq`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deploycompress.quantization.affine import PAIR_LIMIT, QuantizedTensor, largest_pair_sums
from deploycompress.quantization.gptq import gptq_codes


def rounded_int8(
    weight: NDArray[np.floating],
    nearest: QuantizedTensor,
    axis: int,
    products: NDArray[np.float64],
    *,
    pair_safe: bool = False,
    depthwise: bool = False,
) -> QuantizedTensor:
    """Codes by GPTQ on the scales of `nearest`.

    Args:
        weight: Conv [O, I / groups, ...] (axis 0), Gemm or MatMul [K, N] (axis 1).
        nearest: Its symmetric int8 codes.
        axis: Its output-channel axis.
        products: X^T X of its input, [groups, K, K].
        pair_safe: Whether codes of neighbours are bounded (`affine.pair_safe_scale`).
        depthwise: Whether it is the weight of a depthwise convolution.
    """
    by_output = np.moveaxis(weight, axis, 0)
    outputs, groups = len(by_output), len(products)
    rows = by_output.reshape(groups, outputs // groups, -1)
    scale = np.broadcast_to(nearest.scale.reshape(-1), (outputs,)).reshape(groups, -1, 1)
    zero = np.zeros(scale.shape, np.int8)
    used = np.abs(rows).max(axis=1) > 0
    moments = products * used[:, :, None] * used[:, None, :]
    found = [gptq_codes(*each, -127, 127) for each in zip(rows, moments, scale, zero, strict=True)]
    codes = np.concatenate(found).reshape(by_output.shape)
    if pair_safe and weight.ndim == 2:
        codes = bounded_pairs(codes)
    elif pair_safe:
        unsafe = largest_pair_sums(codes, depthwise=depthwise) > PAIR_LIMIT
        codes[unsafe] = np.moveaxis(nearest.codes, axis, 0)[unsafe]
    return QuantizedTensor(
        np.ascontiguousarray(np.moveaxis(codes, 0, axis)), nearest.scale, nearest.zero_point, nearest.axis
    )


def bounded_pairs(codes: NDArray[np.int8]) -> NDArray[np.int8]:
    """Codes [N, K] whose same-sign neighbours (0 and 1, 2 and 3, ...) sum to 128 at most: the larger one gives way."""
    rows, features = codes.shape
    padded = np.pad(codes.astype(np.int16), ((0, 0), (0, features % 2)))
    size, sign = np.abs(padded).reshape(rows, -1, 2), np.sign(padded).reshape(rows, -1, 2)
    over = np.where(sign[..., 0] == sign[..., 1], np.maximum(size.sum(axis=2) - PAIR_LIMIT, 0), 0)
    first = size[..., 0] >= size[..., 1]
    size[..., 0] -= np.where(first, over, 0)
    size[..., 1] -= np.where(first, 0, over)
    bounded: NDArray[np.int8] = (size * sign).reshape(rows, -1)[:, :features].astype(np.int8)
    return bounded
