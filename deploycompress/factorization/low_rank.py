"""W [K, N], moments X^T X of what it multiplies -> A [K, r], B [r, N] with A B as near to W as rank r allows.

    plain      W = U S V^T,              A = U_r S_r^1/2, B = S_r^1/2 V_r^T
    whitened   C = X^T X = L L^T, L^T W = U S V^T,  A = L^-T U_r S_r^1/2, B = S_r^1/2 V_r^T

Plain is nearest in W; whitened is nearest in X W, the output: |X (W - A B)|^2 = |L^T W - L^T A B|^2.

Source: Eckart and Young 1936; Wang et al., "SVD-LLM", 2024 (arXiv:2403.07378) section 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]

_DAMPING = 1e-6  # of the mean of the diagonal: columns that never move leave X^T X singular


@dataclass(frozen=True, eq=False)
class Spectrum:
    """A decomposed weight, from which any rank is cut.

    Attributes:
        left: [K, R], already through the inverse of the whitening.
        values: Singular values [R], falling.
        right: [R, N].
    """

    left: Matrix
    values: Vector
    right: Matrix

    def cut(self, rank: int) -> tuple[Matrix, Matrix]:
        """A [K, rank] and B [rank, N]."""
        root = np.sqrt(self.values[:rank])
        return self.left[:, :rank] * root, root[:, None] * self.right[:rank]


def plain(weight: Matrix) -> Spectrum:
    """The singular value decomposition of W [K, N]."""
    u, s, vt = np.linalg.svd(weight, full_matrices=False)
    return Spectrum(u, s, vt)


def whitened(weight: Matrix, products: Matrix) -> Spectrum:
    """The decomposition that cuts the output, not the weight.

    Args:
        weight: W [K, N].
        products: X^T X [K, K], symmetric, of any number of rows.
    """
    damped = products + _DAMPING * (float(np.diagonal(products).mean()) or 1.0) * np.eye(len(products))
    lower = np.linalg.cholesky(damped)
    u, s, vt = np.linalg.svd(lower.T @ weight, full_matrices=False)
    return Spectrum(np.linalg.solve(lower.T, u), s, vt)
