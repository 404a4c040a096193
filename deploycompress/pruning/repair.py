"""layer, what it read before and what it reads now -> weights that give the old outputs as nearly as can be.

Before, Y = X W + b. Behind what was cut it reads X', with fewer columns, which differ where earlier layers differ. The
least squares of Y on X' and a constant are

    W' = (C_pp + d I)^-1 (C_po W + d V),    b' = b + m_o^T W - m_p^T W'

C the covariances of X (o) and X' (p), m their means, V the weights of W that are left, d a damping towards them. It is
chosen, and the whole repair kept, by the error on samples that had no part in the fit.

Source: He, Zhang and Sun, "Channel Pruning for Accelerating Very Deep Neural Networks", ICCV 2017, section 3.1
(reconstruction of the original output from the pruned input); ridge towards the prior weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deploycompress.calibration.gram import Gram
from deploycompress.pruning.consumers import Matrix

_DAMPING = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Repair:
    """New weights of one layer.

    Attributes:
        weight: W' [features left, outputs].
        shift: What is added to the bias [outputs]; zeros where there is none to add to.
        error_before: Share of the output's energy that is wrong with the weights that were left, on held-out samples.
        error_after: The same with the new weights.
    """

    weight: Matrix
    shift: Vector
    error_before: float
    error_after: float


def repaired(weight: Matrix, left: Matrix, fit: Gram, held_out: Gram, *, has_bias: bool) -> Repair | None:
    """The best repair of a layer, or None where none helps on the held-out samples.

    Args:
        weight: W [features, outputs].
        left: V [features left, outputs].
        fit: Moments of [X, X'], side by side.
        held_out: The same of other samples.
        has_bias: Whether the bias may move.
    """
    features = len(weight)
    products, means = _moments(fit)
    centred = products - np.outer(means, means) if has_bias else products
    after, across = centred[features:, features:], centred[features:, :features]
    before = wrong_share(weight, left, np.zeros(weight.shape[1]), held_out)
    best: Repair | None = None
    scale = float(np.diagonal(after).mean()) or 1.0
    for damping in _DAMPING:
        pull = damping * scale
        wanted = across @ weight + pull * left
        found = np.asarray(np.linalg.solve(after + pull * np.eye(len(after)), wanted), np.float64)
        shift: Vector = np.zeros(weight.shape[1])
        if has_bias:
            shift = np.asarray(means[:features] @ weight - means[features:] @ found, np.float64)
        error = wrong_share(weight, found, shift, held_out)
        if error < (before if best is None else best.error_after):
            best = Repair(found, shift, before, error)
    return best


def _moments(gram: Gram) -> tuple[Matrix, Vector]:
    return gram.products[0] / gram.count, gram.sums[0] / gram.count


def wrong_share(weight: Matrix, left: Matrix, shift: Vector, gram: Gram) -> float:
    """E |X W - X' V - shift|^2 over E |X W|^2."""
    products, means = _moments(gram)
    difference = np.concatenate([weight, -left])
    wrong = float(np.einsum("kn,kn->", difference, products @ difference))
    wrong += float(-2 * shift @ (means @ difference) + shift @ shift)
    energy = float(np.einsum("kn,kn->", weight, products[: len(weight), : len(weight)] @ weight))
    return wrong / (energy or 1.0)
