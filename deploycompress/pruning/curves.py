"""group, score -> the order in which its units go, and what is wrong behind them after each: an error curve.

With Gram matrices the error is that of the layers that read the group, after repair (see `second_order`), for whatever
order the score gives; without, it is the share of the scores that went.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deploycompress.pruning.labels import Array

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Curve:
    """What removing more and more units of one group costs.

    Attributes:
        order: Numbers of the units, the first to go first; one or more stay out.
        errors: What is wrong with the first n of them gone [len(order) + 1], never falling; 0 for none.
    """

    order: Array
    errors: Floats

    @classmethod
    def of_scores(cls, scores: Floats, whole: float | None = None) -> Curve:
        """The lowest go first, and each costs its share of `whole`, by default of the sum of all."""
        order = np.argsort(scores, kind="stable")[:-1]
        whole = float(np.abs(scores).sum()) if whole is None else whole
        shares = np.maximum(scores[order], 0) / max(whole, float(np.finfo(np.float64).tiny))
        return cls(order, np.concatenate([np.zeros(1), np.cumsum(shares)]))

    def scaled(self, factors: Floats) -> Curve:
        """The same order, its errors times `factors` [len(order) + 1], and never falling."""
        return Curve(self.order, np.maximum.accumulate(self.errors * factors))
