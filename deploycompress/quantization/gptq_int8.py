"""int8 codes of a weight, X^T X of its input -> codes on the same scales whose output error is smaller.

Each group of a convolution has a Gram matrix of its own. Rounding moves codes by a step or two: where two neighbours of
a channel then exceed what 16-bit pair sums allow, that channel keeps its nearest codes.

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
    found = [gptq_codes(*each, -127, 127) for each in zip(rows, products, scale, zero, strict=True)]
    codes = np.concatenate(found).reshape(by_output.shape)
    if pair_safe:
        unsafe = largest_pair_sums(codes, depthwise=depthwise) > PAIR_LIMIT
        codes[unsafe] = np.moveaxis(nearest.codes, axis, 0)[unsafe]
    return QuantizedTensor(
        np.ascontiguousarray(np.moveaxis(codes, 0, axis)), nearest.scale, nearest.zero_point, nearest.axis
    )
