"""X^T X -> upper U with U^T U = (X^T X + damping)^-1: what one column's error, made good by later ones, is spread by.

Source: Frantar and Alistarh, "Optimal Brain Compression", 2022; Frantar et al., GPTQ, ICLR 2023, section 3.3.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SMALL = 128


def damped(gram: NDArray[np.float64], damp: float) -> NDArray[np.float64]:
    """The matrix [K, K] with damp * (mean of its diagonal) added; a column of zeros gets 1 on the diagonal instead."""
    matrix = gram.copy()
    diagonal = np.einsum("ii->i", matrix)
    diagonal += damp * diagonal.mean()
    diagonal[np.diagonal(gram) <= 0] = 1.0
    return matrix


def inverse_factor(gram: NDArray[np.float64], damp: float) -> NDArray[np.float64]:
    """Upper U with U^T U = H^-1: with H = R R^T, R upper, U = R^-1. R is a Cholesky factor with the axes reversed."""
    lower = np.linalg.cholesky(damped(gram, damp)[::-1, ::-1])
    return _inverse_of_upper(lower[::-1, ::-1])


def _inverse_of_upper(matrix: NDArray[np.floating]) -> NDArray[np.float64]:
    """[[A, B], [0, D]]^-1 = [[A^-1, -A^-1 B D^-1], [0, D^-1]], halving until the blocks are small."""
    size = len(matrix)
    if size <= _SMALL:
        return np.triu(np.linalg.inv(matrix)).astype(np.float64)
    half = size // 2
    inverse = np.zeros(matrix.shape)
    inverse[:half, :half] = _inverse_of_upper(matrix[:half, :half])
    inverse[half:, half:] = _inverse_of_upper(matrix[half:, half:])
    inverse[:half, half:] = -inverse[:half, :half] @ matrix[:half, half:] @ inverse[half:, half:]
    return inverse
