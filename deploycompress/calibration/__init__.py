"""Samples in, mergeable per-tensor statistics out: one streaming pass, state O(tensors x bins)."""

from deploycompress.calibration.collect import Settled, collect
from deploycompress.calibration.gram import Gram, LayerInput
from deploycompress.calibration.ranges import RANGE_METHODS, RangeMethod
from deploycompress.calibration.statistics import Statistics, TensorStatistics

__all__ = [
    "RANGE_METHODS",
    "Gram",
    "LayerInput",
    "RangeMethod",
    "Settled",
    "Statistics",
    "TensorStatistics",
    "collect",
]
