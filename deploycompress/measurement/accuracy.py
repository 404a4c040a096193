"""outputs and labels -> top-1 and top-5 with intervals, and the drop against a baseline, paired sample by sample.

value = correct / n with Wilson's interval; drop = (lost - gained) / n, where `lost` counts samples the baseline gets
right and the model wrong; its interval is a bootstrap over the 2 x 2 table of paired outcomes with half a sample added
to each cell (without it, two models that happen to agree on every sample would get an interval of width zero); the
p-value is McNemar's exact test, 2 P(X <= min(lost, gained)), X ~ Binomial(lost + gained, 1/2).

Source: Wilson, "Probable inference", 1927; Agresti and Min, "Simple improved confidence intervals for comparing matched
proportions", Statistics in Medicine 2005; McNemar, 1947; Dietterich, "Approximate statistical tests", 1998.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploycompress.errors import DataRejectedError, UnsupportedError
from deploycompress.records.measured import Accuracy, Interval

Bools = NDArray[np.bool_]

_LEAST_CLASSES_FOR_TOP5 = 10


@dataclass(frozen=True)
class Outcomes:
    """Whether each sample was classified correctly, in the order of the data.

    Attributes:
        top1: [samples] the label is the arg-max.
        top5: [samples] the label is among the five largest, or None where there are fewer than ten classes.
    """

    top1: Bools
    top5: Bools | None


def outcomes(scores: NDArray[Any], labels: Sequence[int | float | None]) -> Outcomes:
    """Compares the class scores of a batch with its labels.

    A sample whose scores hold a NaN is wrong; among equal scores the first class wins, as arg-max has it.

    Args:
        scores: [samples, classes], or predicted class numbers [samples].
        labels: [samples] class numbers.

    Raises:
        UnsupportedError: The output is neither scores nor class numbers, or the labels are not class numbers.
        DataRejectedError: A label is no class of the model.
    """
    wanted = _class_numbers(labels)
    if scores.ndim == 1 and scores.dtype.kind in "iu" and len(scores) == len(wanted):
        return Outcomes(scores == wanted, None)
    if scores.ndim != 2 or len(scores) != len(wanted) or scores.shape[1] < 2 or scores.dtype.kind not in "fiu":
        raise UnsupportedError(
            f"top-1 needs scores [samples, classes], and the output is {scores.dtype}{list(scores.shape)}"
        )
    classes = scores.shape[1]
    for label in (wanted.min(), wanted.max()):
        if not 0 <= label < classes:
            raise DataRejectedError(
                f"label {label} is no class of the model, which has {classes} (0 to {classes - 1})",
                remedy="check the labels, in particular whether they count from 1",
            )
    sound = ~np.isnan(scores.astype(np.float64)).any(axis=1)
    top1 = (scores.argmax(axis=1) == wanted) & sound
    if classes < _LEAST_CLASSES_FOR_TOP5:
        return Outcomes(top1, None)
    ranked = np.argsort(-scores.astype(np.float64), axis=1, kind="stable")[:, :5]
    return Outcomes(top1, (ranked == wanted[:, None]).any(axis=1) & sound)


def joined(parts: Sequence[Outcomes]) -> Outcomes:
    """Outcomes of several batches as one, in order."""
    fives = [part.top5 for part in parts if part.top5 is not None]
    return Outcomes(
        np.concatenate([part.top1 for part in parts]), np.concatenate(fives) if len(fives) == len(parts) else None
    )


def accuracy(correct: Bools, baseline: Bools | None = None, *, metric: str = "top-1", seed: int = 0) -> Accuracy:
    """Share of correct samples with Wilson's interval, and the paired drop where a baseline is given.

    Args:
        correct: [samples] outcomes of the model.
        baseline: [samples] outcomes of the baseline on the same samples in the same order.
        metric: Name of the metric.
        seed: Of the bootstrap.

    Raises:
        ValueError: The two differ in number.
    """
    count, right = len(correct), int(correct.sum())
    if baseline is None:
        return Accuracy(metric, right / count, wilson(right, count), count)
    if len(baseline) != count:
        raise ValueError(f"paired outcomes differ in number: {len(baseline)} and {count}")
    lost, gained = int((baseline & ~correct).sum()), int((~baseline & correct).sum())
    return Accuracy(
        metric,
        right / count,
        wilson(right, count),
        count,
        drop=(lost - gained) / count,
        drop_interval=drop_interval(lost, gained, count, seed=seed),
        lost=lost,
        gained=gained,
        p_value=mcnemar(lost, gained),
    )


def wilson(successes: int, count: int, level: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion."""
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share, spread = successes / count, z * z / count
    centre = (share + spread / 2) / (1 + spread)
    reach = z * math.sqrt(share * (1 - share) / count + spread / (4 * count)) / (1 + spread)
    return Interval(max(0.0, centre - reach), min(1.0, centre + reach), level)


def drop_interval(
    lost: int, gained: int, count: int, *, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> Interval:
    """Paired bootstrap interval of (lost - gained) / count.

    Drawing samples with replacement is drawing the counts of the table from a multinomial, so the cost does not depend
    on the number of samples.
    """
    cells = np.array([lost + 0.5, gained + 0.5, count - lost - gained + 1.0])
    draws = np.random.default_rng(seed).multinomial(count + 2, cells / cells.sum(), size=resamples)
    tail = 100 * (1 - level) / 2
    low, high = np.percentile((draws[:, 0] - draws[:, 1]) / (count + 2), [tail, 100 - tail])
    return Interval(float(low), float(high), level)


def mcnemar(lost: int, gained: int) -> float:
    """Two-sided exact p-value that losing and gaining a sample are equally likely."""
    flips, fewer = lost + gained, min(lost, gained)
    logs = [math.lgamma(flips + 1) - math.lgamma(k + 1) - math.lgamma(flips - k + 1) for k in range(fewer + 1)]
    return min(1.0, 2 * math.fsum(math.exp(log - flips * math.log(2)) for log in logs))


def _class_numbers(labels: Sequence[int | float | None]) -> NDArray[np.int64]:
    other = [label for label in labels if label is None or not float(label).is_integer()]
    if other or not labels:
        said = f"one has the label {other[0]!r}" if other else "there is none"
        raise UnsupportedError(f"top-1 needs a class number for every sample, and {said}")
    return np.array([int(label) for label in labels if label is not None], dtype=np.int64)
