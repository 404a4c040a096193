"""`--metric NAME`, or what labels and output are -> the metric.

Without a name: class numbers and class scores are judged by top-1, real numbers by Pearson's correlation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deploycompress.errors import UnknownNameError, UnsupportedError
from deploycompress.measurement.metrics.classes import TOP1, TOP5
from deploycompress.measurement.metrics.confusion import F1, F1_MACRO, MATTHEWS
from deploycompress.measurement.metrics.correlation import PEARSON, SPEARMAN
from deploycompress.measurement.metrics.custom import custom
from deploycompress.measurement.metrics.image import PSNR
from deploycompress.measurement.metrics.likelihood import NLL, PERPLEXITY
from deploycompress.measurement.metrics.metric import Array, Label, Metric
from deploycompress.records.reference import is_reference

METRICS = (TOP1, TOP5, F1, F1_MACRO, MATTHEWS, PEARSON, SPEARMAN, PSNR, NLL, PERPLEXITY)


def named(name: str) -> Metric:
    """The metric of that name, or the user's own.

    Raises:
        UnknownNameError: There is none; the nearest names are given.
        UsageError: The user's own cannot be used.
    """
    if is_reference(name):
        return custom(name)
    for metric in METRICS:
        if metric.name == name:
            return metric
    raise UnknownNameError("metric", name, [metric.name for metric in METRICS])


def fitting(output: Array, labels: Sequence[Label]) -> Metric:
    """The metric for an output and labels of this kind.

    Raises:
        UnsupportedError: The labels are arrays, which several metrics could judge.
    """
    if any(label is not None and np.ndim(label) for label in labels):
        raise UnsupportedError("the labels are arrays", remedy="name a metric: psnr, nll, perplexity or your own")
    one_number = output.dtype.kind == "f" and output.size == len(labels)
    real = any(label is not None and not float(label).is_integer() for label in labels)
    return PEARSON if one_number or real else TOP1
