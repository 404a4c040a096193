"""K [M, C, h, w] -> first [r, C, h, 1], last [M, r, 1, w]: a column of the kernel, then a row of it.

    K[m, c, k, l] = sum over r of last[m, r, l] first[r, c, k]

The SVD of the matrix [(C, h), (M, w)]. Source: Jaderberg, Vedaldi and Zisserman, "Speeding up Convolutional Neural
Networks with Low Rank Expansions", BMVC 2014, scheme 2.
"""

from __future__ import annotations

import numpy as np

from deploycompress.factorization.factors import Factor, Factors, Kernel, Matrix
from deploycompress.factorization.low_rank import Spectrum, plain


def unfolded(kernel: Kernel) -> Matrix:
    """[(C, h), (M, w)], what its rank is of."""
    outputs, inputs, height, width = kernel.shape
    return np.transpose(kernel, (1, 2, 0, 3)).reshape(inputs * height, outputs * width)


def spectrum(kernel: Kernel) -> Spectrum:
    """Its decomposition."""
    return plain(unfolded(kernel))


def spatial(kernel: Kernel, found: Spectrum, rank: int) -> Factors:
    """Two factors of this rank."""
    outputs, inputs, height, width = kernel.shape
    columns, rows = found.cut(rank)
    first = columns.T.reshape(-1, inputs, height, 1)
    last = rows.reshape(-1, outputs, width).transpose(1, 0, 2)
    return Factor(first, (0,)), Factor(last[:, :, None], (1,))
