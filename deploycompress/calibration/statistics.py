"""activations of one tensor over all samples -> count, extremes, histogram, channel means; `merge` is associative.

`merge(collect(A), collect(B)) == collect(A + B)` for any split of the data, so the work can be shared out. (Channel
sums are float64: their last bits depend on the order of the additions.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deploycompress.calibration.histogram import Histogram
from deploycompress.errors import DataRejectedError


@dataclass(frozen=True)
class TensorStatistics:
    """What one tensor was seen to hold.

    Attributes:
        count: Number of finite elements seen.
        low: Smallest finite element (+inf where none was seen).
        high: Largest finite element (-inf where none was seen).
        nonfinite: Number of NaN and infinite elements, left out of everything else.
        histogram: Counts of the finite elements.
        channel_sums: Sum of the elements of each channel, float64 [channels]; None where it was not asked for, or the
            number of channels changed from sample to sample.
    """

    count: int
    low: float
    high: float
    nonfinite: int
    histogram: Histogram
    channel_sums: NDArray[np.float64] | None = None

    @classmethod
    def of(cls, values: NDArray[np.floating], *, channel_axis: int | None = None) -> TensorStatistics:
        """Statistics of one array, with the sums along `channel_axis` where one is given."""
        finite = values if np.isfinite(values).all() else values[np.isfinite(values)]
        histogram = Histogram.of(finite)
        if finite.size == 0:
            return cls(0, float("inf"), float("-inf"), int(values.size), histogram)
        sums = None
        if channel_axis is not None and -values.ndim <= channel_axis < values.ndim and finite.size == values.size:
            rows = np.moveaxis(values, channel_axis, -1).reshape(-1, values.shape[channel_axis])
            sums = rows.sum(axis=0, dtype=np.float64)
        nonfinite = int(values.size - finite.size)
        return cls(int(finite.size), float(finite.min()), float(finite.max()), nonfinite, histogram, sums)

    @property
    def channel_means(self) -> NDArray[np.float64] | None:
        """Mean of each channel [channels], or None where it is not known."""
        return None if self.channel_sums is None else self.channel_sums * (self.channel_sums.size / self.count)

    def merge(self, other: TensorStatistics) -> TensorStatistics:
        """Statistics of both sets of elements."""
        return TensorStatistics(
            self.count + other.count,
            min(self.low, other.low),
            max(self.high, other.high),
            self.nonfinite + other.nonfinite,
            self.histogram.merge(other.histogram),
            _added(self.channel_sums, other.channel_sums),
        )


@dataclass(frozen=True)
class Statistics(Mapping[str, TensorStatistics]):
    """Statistics by tensor name.

    Attributes:
        tensors: One entry per tensor.
        samples: Number of samples seen.
    """

    tensors: Mapping[str, TensorStatistics]
    samples: int

    def __getitem__(self, name: str) -> TensorStatistics:
        return self.tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)

    def merge(self, other: Statistics) -> Statistics:
        """Statistics over the samples of both; a tensor known to one side only is kept."""
        tensors = dict(self.tensors)
        for name, statistics in other.tensors.items():
            tensors[name] = tensors[name].merge(statistics) if name in tensors else statistics
        return Statistics(tensors, self.samples + other.samples)

    def require_finite(self) -> None:
        """Refuses statistics in which a tensor held NaN or infinity.

        Raises:
            DataRejectedError: Names the first such tensor and how many elements were not finite.
        """
        for name, tensor in self.tensors.items():
            if tensor.nonfinite:
                raise DataRejectedError(
                    f"tensor {name!r} held {tensor.nonfinite} NaN or infinite values during calibration",
                    remedy="the float model overflows on these samples: check the samples and their preprocessing",
                )


def _added(first: NDArray[np.float64] | None, second: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    if first is None or second is None or first.shape != second.shape:
        return None
    return first + second
