"""weight W [K, M], a share or a pattern, X^T X -> W with zeros where the least is lost, the rest refitted or as it was.

    magnitude  |W|                      of the whole layer
    lamp       W^2 / (sum of all W^2 of the layer that are no smaller), one threshold for all layers
    wanda      |W_km| |X_k|             of every output channel
    sparsegpt  W^2 / U_kk^2 in blocks of features, each zero made good by the features behind it
               (U^T U = (X^T X)^-1, see `calibration.inverse_factor`)

N of M: of every M features in a row that an output channel reads, the N that score highest stay.

Sources: Han et al. 2015 (arXiv:1506.02626); Lee et al., LAMP, ICLR 2021; Sun et al., Wanda, 2023 (arXiv:2306.11695);
Frantar and Alistarh, SparseGPT, 2023 (arXiv:2301.00774), algorithm 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from deploycompress.calibration.inverse_factor import inverse_factor

Method = Literal["magnitude", "lamp", "wanda", "sparsegpt"]
METHODS: tuple[Method, ...] = get_args(Method)
FROM_SAMPLES: tuple[Method, ...] = ("wanda", "sparsegpt")

Matrix = NDArray[np.float64]
Kept = NDArray[np.bool_]

_BLOCK = 128
_DAMPING = 0.01


@dataclass(frozen=True)
class Pattern:
    """Which zeros are wanted: a share of all, or `kept` of every `of` features.

    Attributes:
        share: Of the elements of a layer that become zero; None for N of M.
        kept: N.
        of: M.
    """

    share: float | None = None
    kept: int = 0
    of: int = 0

    @property
    def called(self) -> str:
        """As in "90 %" or "2:4"."""
        return f"{100 * self.share:g} %" if self.share is not None else f"{self.kept}:{self.of}"

    @property
    def zeros(self) -> float:
        """Share of the elements that become zero."""
        return self.share if self.share is not None else 1 - self.kept / self.of


def largest(scores: Matrix, pattern: Pattern, *, by_output: bool = False) -> Kept:
    """Which elements stay, exactly as many as the pattern says.

    Args:
        scores: [K, M].
        pattern: What is wanted; for N of M, K is a multiple of M.
        by_output: Whether a share is one of every column, not of the whole.
    """
    if pattern.share is None:
        groups = scores.reshape(-1, pattern.of, scores.shape[1])
        rank = np.argsort(np.argsort(-groups, axis=1, kind="stable"), axis=1, kind="stable")
        return np.asarray(rank < pattern.kept).reshape(scores.shape)
    matrix = scores if by_output else scores.reshape(-1, 1)
    gone = round(pattern.share * len(matrix))
    rank = np.argsort(np.argsort(matrix, axis=0, kind="stable"), axis=0, kind="stable")
    return np.asarray(rank >= gone).reshape(scores.shape)


def magnitude(weight: Matrix, pattern: Pattern) -> Matrix:
    """The largest elements of a layer."""
    return np.where(largest(np.abs(weight), pattern), weight, 0.0)


def wanda(weight: Matrix, pattern: Pattern, products: Matrix) -> Matrix:
    """The elements that carry most on the samples.

    Args:
        weight: W [K, M].
        pattern: What is wanted.
        products: X^T X [K, K] of what it multiplies.
    """
    scores = np.abs(weight) * np.sqrt(np.diagonal(products))[:, None]
    return np.where(largest(scores, pattern, by_output=True), weight, 0.0)


def sparsegpt(weight: Matrix, pattern: Pattern, products: Matrix) -> Matrix:
    """As `wanda`, with every zero made good by the features behind it."""
    factor = inverse_factor(products, _DAMPING)
    left, block = weight.copy(), pattern.of or _BLOCK
    for start in range(0, len(left), block):
        stop = min(start + block, len(left))
        scores = (left[start:stop] / np.diagonal(factor)[start:stop, None]) ** 2
        kept = largest(scores, pattern)
        for k in range(start, stop):
            error = np.where(kept[k - start], 0.0, left[k]) / factor[k, k]
            left[k] = np.where(kept[k - start], left[k], 0.0)
            left[k + 1 :] -= np.multiply.outer(factor[k, k + 1 :], error)
    return left


def lamp_scores(weight: Matrix) -> Matrix:
    """The score of every element within its layer, in (0, 1]; the largest has 1."""
    squares = (weight**2).ravel()
    order = np.argsort(-squares, kind="stable")
    sums = np.cumsum(squares[order])
    scores = np.empty_like(squares)
    scores[order] = squares[order] / np.where(sums > 0, sums, 1.0)
    return scores.reshape(weight.shape)


def lamp(weights: Sequence[Matrix], share: float) -> list[Matrix]:
    """The elements of highest score of all layers together; no layer is left empty."""
    scores = [lamp_scores(weight) for weight in weights]
    every = np.concatenate([score.ravel() for score in scores])
    kept = largest(every[:, None], Pattern(share)).ravel()
    ends = np.cumsum([score.size for score in scores])[:-1]
    return [
        np.where(mask.reshape(weight.shape), weight, 0.0)
        for weight, mask in zip(weights, np.split(kept, ends), strict=True)
    ]
