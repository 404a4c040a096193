"""layer, moments of what it multiplies -> its factorized forms, refitted, each with what it gets wrong.

The last factor of a form reads Z = X F, a linear function of the rows X that the layer itself reads, Y = X W. Its
weights, and the bias where there is one, are the least squares of Y on Z (see `pruning.repair`): what the search for
the other factors did not know about X, the last one makes good as far as it can. Errors are on samples that took no
part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deploycompress.calibration.gram import Gram
from deploycompress.factorization.candidates import Candidate, Method
from deploycompress.factorization.factors import Factors, composed, features, parameters, with_last
from deploycompress.factorization.layer import Layer
from deploycompress.pruning.repair import repaired, wrong_share

Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Form:
    """One way to write a layer.

    Attributes:
        method: How it was found.
        ranks: Widths between its factors.
        factors: The layers that it becomes.
        shift: What is added to the bias; None for nothing.
        error: Share of the energy of the layer's output that is wrong, on samples that took no part; of the energy of
            its weights where there are no samples.
    """

    method: Method
    ranks: tuple[int, ...]
    factors: Factors
    shift: NDArray[np.float64] | None
    error: float

    @property
    def parameters(self) -> int:
        """Elements of its weights."""
        return parameters(self.factors)

    @property
    def called(self) -> str:
        """As in "tucker 16, 24"."""
        return f"{self.method} {', '.join(map(str, self.ranks))}"


@dataclass(frozen=True, eq=False)
class Moments:
    """What is known of the rows that a layer multiplies.

    Attributes:
        fit: From samples that factors are fitted on.
        held_out: From others, that errors are measured on.
    """

    fit: Gram
    held_out: Gram

    def products(self, layer: Layer) -> Matrix:
        """X^T X of the samples that fit, without the mean of X where the layer has a bias to make it good."""
        products: Matrix = self.fit.products[0] / self.fit.count
        mean = self.fit.sums[0] / self.fit.count
        return products - np.outer(mean, mean) if layer.may_shift else products


def fitted(layer: Layer, wanted: Sequence[Candidate], moments: Moments | None) -> list[Form]:
    """The forms of these candidates."""
    if moments is None:
        return [_unfitted(layer, each) for each in wanted]
    before = [_Before.of(gram, layer.matrix) for gram in (moments.fit, moments.held_out)]
    return [_fitted(layer, each, before) for each in wanted]


@dataclass(frozen=True, eq=False)
class _Before:
    """Moments of X, and what they make of W: the same for every form of a layer."""

    gram: Gram
    weight: Matrix
    met: Matrix  # X^T Y

    @classmethod
    def of(cls, gram: Gram, weight: Matrix) -> _Before:
        return cls(gram, weight, gram.products[0] @ weight)

    def beside(self, into: Matrix) -> Gram:
        """Moments of [Y, X into]."""
        across = into.T @ self.met
        own, new = self.weight.T @ self.met, into.T @ (self.gram.products[0] @ into)
        sums = self.gram.sums[0] @ np.concatenate([self.weight, into], axis=1)
        return Gram(self.gram.count, sums[None], np.block([[own, across.T], [across, new]])[None])


def _unfitted(layer: Layer, found: Candidate) -> Form:
    factors = found.make()
    wrong = float(((composed(factors) - layer.kernel) ** 2).sum())
    energy = float((layer.kernel**2).sum())
    return Form(found.method, found.ranks, factors, None, wrong / (energy or 1.0))


def _fitted(layer: Layer, found: Candidate, before: Sequence[_Before]) -> Form:
    factors = found.make()
    last = factors[-1].weight.reshape(len(layer.kernel), -1).T
    fit, held_out = (each.beside(features(factors, layer.lengths)) for each in before)
    whole = np.eye(len(layer.kernel))
    better = repaired(whole, last, fit, held_out, has_bias=layer.may_shift)
    if better is None:
        error = wrong_share(whole, last, np.zeros(len(whole)), held_out)
        return Form(found.method, found.ranks, factors, None, error)
    shift = better.shift if layer.may_shift else None
    return Form(found.method, found.ranks, with_last(factors, better.weight), shift, better.error_after)
