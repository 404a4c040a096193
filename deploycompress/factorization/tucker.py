"""K [M, C, *kernel] -> first [r_c, C], core [r_m, r_c, *kernel], last [M, r_m]: Tucker-2, over the channels alone.

    K[m, c, k] = sum over i, j of last[m, j] core[j, i, k] first[i, c]

Started from the leading singular vectors of both unfoldings (HOSVD), then a few sweeps that choose each side anew for
the other as it is (HOOI). Source: Kim et al., "Compression of Deep Convolutional Neural Networks for Fast and Low Power
Mobile Applications", ICLR 2016, section 3; De Lathauwer, De Moor and Vandewalle 2000, algorithm 4.2.
"""

from __future__ import annotations

import numpy as np

from deploycompress.factorization.factors import Factor, Factors, Kernel, Matrix

_SWEEPS = 4


def tucker(kernel: Kernel, ranks: tuple[int, int]) -> Factors:
    """Three factors; `ranks` are those of inputs and outputs."""
    inputs, outputs = ranks
    first = _leading(_unfolded(kernel, 1), inputs)
    last = _leading(_unfolded(kernel, 0), outputs)
    for _ in range(_SWEEPS):
        last = _leading(_unfolded(np.einsum("mc...,ci->mi...", kernel, first), 0), outputs)
        first = _leading(_unfolded(np.einsum("mc...,mj->jc...", kernel, last), 1), inputs)
    core = np.einsum("mc...,mj,ci->ji...", kernel, last, first, optimize=True)
    ones = (1,) * (kernel.ndim - 2)
    return (
        Factor(first.T.reshape(*first.T.shape, *ones)),
        Factor(core, tuple(range(len(ones)))),
        Factor(last.reshape(*last.shape, *ones)),
    )


def energies(kernel: Kernel) -> tuple[Matrix, Matrix]:
    """Squared singular values of the unfoldings along inputs and along outputs, falling."""
    inputs, outputs = (np.linalg.svd(_unfolded(kernel, axis), compute_uv=False) for axis in (1, 0))
    return np.asarray(inputs**2, np.float64), np.asarray(outputs**2, np.float64)


def _unfolded(kernel: Kernel, axis: int) -> Matrix:
    return np.moveaxis(kernel, axis, 0).reshape(kernel.shape[axis], -1)


def _leading(matrix: Matrix, count: int) -> Matrix:
    """The first left singular vectors [rows, count]."""
    values, vectors = np.linalg.eigh(matrix @ matrix.T)
    del values  # rising
    return np.asarray(vectors[:, ::-1][:, :count])
