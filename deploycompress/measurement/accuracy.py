"""tables of a model and of its baseline -> the metric with its interval, and the drop, paired sample by sample.

drop = by how much the model is worse. Where samples are right or wrong, `lost` counts those that the baseline gets
right and the model wrong, and the p-value is McNemar's exact test, 2 P(X <= min(lost, gained)), X ~ Binomial(lost +
gained, 1/2). A share has Wilson's interval, its drop a bootstrap over the 2 x 2 table of paired outcomes with half a
sample added to each cell (without it, two models that agree on every sample would get an interval of width zero). Every
other metric has a paired bootstrap: both models are valued on the same draws, and where samples are right or wrong,
half a lost and half a gained sample join them for the same reason.

Source: Wilson, "Probable inference", 1927; Agresti and Min, "Simple improved confidence intervals for comparing matched
proportions", Statistics in Medicine 2005; McNemar, 1947; Dietterich, "Approximate statistical tests", 1998.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from deploycompress.measurement import bootstrap
from deploycompress.measurement.metrics.metric import Array, Bools, Floats, Metric
from deploycompress.records.measured import Accuracy, ClassFigure, Interval


def accuracy(metric: Metric, table: Array, baseline: Array | None = None, *, seed: int = 0) -> Accuracy:
    """The metric of a model, and its paired drop where a baseline is given.

    Args:
        metric: What to compute.
        table: [samples, columns] of the model, as `metric.table` makes it.
        baseline: [samples, columns] of the baseline on the same samples in the same order.
        seed: Of the bootstrap.

    Raises:
        ValueError: The two differ in number.
    """
    own = Accuracy(
        metric.name,
        metric.of(table),
        _interval(metric, table, seed),
        len(table),
        unit=metric.unit,
        higher_is_better=metric.higher_is_better,
        classes=_classes(metric, table, baseline),
    )
    if baseline is None:
        return own
    if len(baseline) != len(table):
        raise ValueError(f"paired outcomes differ in number: {len(baseline)} and {len(table)}")
    sign = 1 if metric.higher_is_better else -1
    own = own.against(sign * (metric.of(baseline) - own.value), drop_interval(metric, table, baseline, seed=seed))
    if metric.right is None:
        return own
    lost, gained = flips(metric.right(table), metric.right(baseline))
    return own.with_flips(len(lost), len(gained), mcnemar(len(lost), len(gained)))


def flips(right: Bools, baseline: Bools) -> tuple[list[int], list[int]]:
    """Numbers of the samples that only the baseline gets right (lost), and of those that only the model does."""
    return np.flatnonzero(baseline & ~right).tolist(), np.flatnonzero(~baseline & right).tolist()


def wilson(successes: int, count: int, level: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion."""
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share, spread = successes / count, z * z / count
    centre = (share + spread / 2) / (1 + spread)
    reach = z * math.sqrt(share * (1 - share) / count + spread / (4 * count)) / (1 + spread)
    return Interval(max(0.0, centre - reach), min(1.0, centre + reach), level)


def share_drop_interval(
    lost: int, gained: int, count: int, *, level: float = 0.95, draws: int = 10_000, seed: int = 0
) -> Interval:
    """Paired bootstrap interval of (lost - gained) / count."""
    cells = np.array([lost + 0.5, gained + 0.5, count - lost - gained + 1.0])
    statistic = lambda weights: (weights[:, 0] - weights[:, 1]) / weights.sum(axis=1)  # noqa: E731
    return bootstrap.interval(statistic, cells, draws=draws, level=level, seed=seed)


def mcnemar(lost: int, gained: int) -> float:
    """Two-sided exact p-value that losing and gaining a sample are equally likely."""
    flipped, fewer = lost + gained, min(lost, gained)
    logs = [math.lgamma(flipped + 1) - math.lgamma(k + 1) - math.lgamma(flipped - k + 1) for k in range(fewer + 1)]
    return min(1.0, 2 * math.fsum(math.exp(log - flipped * math.log(2)) for log in logs))


def _interval(metric: Metric, table: Array, seed: int) -> Interval:
    if metric.is_share and metric.right is not None:
        return wilson(int(metric.right(table).sum()), len(table))
    cells, counts = _cells(table)
    return bootstrap.interval(lambda weights: metric.value(cells, weights), counts, draws=metric.draws, seed=seed)


def drop_interval(metric: Metric, table: Array, baseline: Array, *, seed: int = 0) -> Interval:
    """Interval of how much worse `table` is than `baseline`, both [samples, columns] of the same samples."""
    if metric.is_share and metric.right is not None:
        lost, gained = flips(metric.right(table), metric.right(baseline))
        return share_drop_interval(len(lost), len(gained), len(table), seed=seed)
    columns, sign = table.shape[1], 1 if metric.higher_is_better else -1
    cells, counts = _cells(np.concatenate([table, baseline], axis=1))
    if metric.right is not None:
        prior, prior_counts = _half_flips(table[:, 0])
        cells, counts = np.concatenate([cells, prior]), np.concatenate([counts, prior_counts])

    def drop(weights: Floats) -> Floats:
        return sign * (metric.value(cells[:, columns:], weights) - metric.value(cells[:, :columns], weights))

    return bootstrap.interval(drop, counts, draws=metric.draws, seed=seed)


def _half_flips(labels: Array) -> tuple[Array, Floats]:
    """Half a lost and half a gained sample, spread evenly over the classes; wrong is the next class.

    Evenly, because a flip in a rare class moves F1 and Matthews most, and is the one that few samples may not show.
    """
    classes = np.unique(labels)
    wrong = np.roll(classes, 1) if len(classes) > 1 else classes + 1
    lost = np.stack([classes, wrong, classes, classes], axis=1)
    gained = np.stack([classes, classes, classes, wrong], axis=1)
    return np.concatenate([lost, gained]), np.full(2 * len(classes), 0.5 / len(classes))


def _cells(table: Array) -> tuple[Array, Floats]:
    """Different rows and how often each occurs."""
    if table.dtype == object:  # samples of a user's own metric, which nothing can compare
        return table, np.ones(len(table))
    cells, counts = np.unique(table, axis=0, return_counts=True)
    return cells, counts.astype(np.float64)


def _classes(metric: Metric, table: Array, baseline: Array | None) -> tuple[ClassFigure, ...]:
    if metric.per_class is None:
        return ()
    before = metric.per_class(baseline) if baseline is not None else {}
    labels, counts = np.unique(table[:, 0], return_counts=True)
    count = dict(zip(labels.astype(int).tolist(), counts.tolist(), strict=True))
    return tuple(
        ClassFigure(label, count.get(label, 0), value, before[label] - value if label in before else None)
        for label, value in metric.per_class(table).items()
    )
