"""weight, X^T X of its input -> codes whose output error is small: each rounding error is made good by later columns.

    for columns i in order:  q_i = round(w_i),  e = (w_i - s (q_i - z)) / U_ii,  w_j -= e U_ij  for j > i
    U upper triangular, U^T U = H^-1,  H = X^T X + damp * mean(diag(X^T X)) * I

The grid is fixed beforehand, so the order of columns is free: `act_order` rounds those of the largest inputs first,
while there are many others left to take up their errors. A column whose input was never seen takes no error of others
and is rounded to nearest.

Source: Frantar et al., GPTQ, ICLR 2023 (arXiv:2210.17323), sections 3.2-3.3 (lazy blocks of 128 columns).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deploycompress.calibration.inverse_factor import inverse_factor

_LAZY_COLUMNS = 128


def gptq_codes(
    weight: NDArray[np.floating],
    gram: NDArray[np.float64],
    scale: NDArray[np.floating],
    zero_point: NDArray[np.integer],
    low: int,
    high: int,
    *,
    block: int | None = None,
    act_order: bool = True,
    damp: float = 0.01,
) -> NDArray[np.int8]:
    """Codes [N, K] in [low, high], to be read as scale * (code - zero_point).

    Args:
        weight: [N, K], one row an output channel.
        gram: X^T X of the input [K, K], of any positive factor.
        scale: [N, G], one column a block of K; G = 1 where `block` is None.
        zero_point: [N, G], the code of 0.0.
        low: Smallest code, -128 or more.
        high: Largest code, 127 or less.
        block: Elements along K that share a scale; the last block may be shorter.
        act_order: Round the columns of the largest inputs first.
        damp: Share of the mean of the diagonal of `gram` added to it; more than 0.
    """
    rows, columns = weight.shape
    group = np.arange(columns) // (block or columns)
    energy = np.diagonal(gram)
    order = np.argsort(-energy, kind="stable") if act_order else np.arange(columns)
    # Transposed, [K, N]: a column of the weight is a contiguous row here.
    left = weight.T.astype(np.float64)[order]
    scales, zeros = scale.T.astype(np.float64)[group[order]], zero_point.T.astype(np.float64)[group[order]]
    factor = inverse_factor(gram[np.ix_(order, order)], damp)
    codes = np.empty((columns, rows), np.int8)
    for start in range(0, columns, _LAZY_COLUMNS):
        stop = min(start + _LAZY_COLUMNS, columns)
        errors = np.empty((stop - start, rows))
        for i in range(start, stop):
            code = np.clip(np.rint(left[i] / scales[i]) + zeros[i], low, high)
            error = (left[i] - scales[i] * (code - zeros[i])) / factor[i, i]
            left[i + 1 : stop] -= np.multiply.outer(factor[i, i + 1 : stop], error)
            codes[order[i]] = code
            errors[i - start] = error
        left[stop:] -= factor[start:stop, stop:].T @ errors
    return np.ascontiguousarray(codes.T)
