"""activations of one tensor over all samples -> count, extremes, histogram, sums and extremes of channels.

`merge` is associative and `merge(collect(A), collect(B)) == collect(A + B)` for any split of the data, so the work can
be shared out. (Sums are float64: their last bits depend on the order of the additions.)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from deploycompress.calibration.gram import Gram, LayerInput
from deploycompress.calibration.histogram import EMPTY, Histogram
from deploycompress.errors import DataRejectedError

_Channel = NDArray[np.float64] | None
_Channels = tuple[_Channel, _Channel, _Channel]  # sums, lows, highs
_UNKNOWN: _Channels = (None, None, None)

_BATCH = 1 << 14  # elements sorted into bins at a time
_ELEMENTS = 4096  # of a sample of feature maps; a few dozen samples fill 2,048 bins many times over
_FEWEST_POSITIONS = 16


@dataclass(frozen=True)
class TensorStatistics:
    """What one tensor was seen to hold.

    Attributes:
        count: Number of finite elements seen.
        low: Smallest finite element (+inf where none was seen).
        high: Largest finite element (-inf where none was seen).
        nonfinite: Number of NaN and infinite elements, left out of everything else.
        histogram: Counts of the finite elements; of large feature maps, of evenly spread positions (see `spread`).
        channel_sums: Sum of the elements of each channel, float64 [channels]; None where it was not asked for, the
            number of channels changed from sample to sample, or an element was not finite.
        channel_low: Smallest element of each channel, float64 [channels]; None where the sums are.
        channel_high: Largest element of each channel, float64 [channels]; None where the sums are.
    """

    count: int = 0
    low: float = float("inf")
    high: float = float("-inf")
    nonfinite: int = 0
    histogram: Histogram = EMPTY
    channel_sums: NDArray[np.float64] | None = None
    channel_low: NDArray[np.float64] | None = None
    channel_high: NDArray[np.float64] | None = None

    @classmethod
    def of(cls, values: NDArray[np.floating], *, channel_axis: int | None = None) -> TensorStatistics:
        """Statistics of one array, with those along `channel_axis` where one is given."""
        running = RunningTensor(channel_axis)
        running.add(values)
        return running.result()

    @property
    def channel_means(self) -> NDArray[np.float64] | None:
        """Mean of each channel [channels], or None where it is not known."""
        return None if self.channel_sums is None else self.channel_sums * (self.channel_sums.size / self.count)

    @property
    def channel_absmax(self) -> NDArray[np.float64] | None:
        """Largest magnitude in each channel [channels], or None where it is not known."""
        if self.channel_low is None or self.channel_high is None:
            return None
        return np.maximum(self.channel_high, -self.channel_low)

    @property
    def channels(self) -> _Channels:
        """Sums, smallest and largest elements of the channels, each None where they are not known."""
        return self.channel_sums, self.channel_low, self.channel_high

    def merge(self, other: TensorStatistics) -> TensorStatistics:
        """Statistics of both sets of elements."""
        if not other.count and not other.nonfinite:
            return self
        if not self.count and not self.nonfinite:
            return other
        return TensorStatistics(
            self.count + other.count,
            min(self.low, other.low),
            max(self.high, other.high),
            self.nonfinite + other.nonfinite,
            self.histogram.merge(other.histogram),
            *_joined(self.channels, other.channels),
        )


class RunningTensor:
    """Statistics that grow array by array.

    Values of small tensors wait until there are many: to sort a few into 2,048 bins costs as much as to sort thousands.
    """

    def __init__(self, channel_axis: int | None = None) -> None:
        self._axis = channel_axis
        self._count, self._nonfinite = 0, 0
        self._low, self._high = float("inf"), float("-inf")
        self._histogram = EMPTY
        self._channels: _Channels | None = None
        self._waiting: list[NDArray[np.floating]] = []
        self._waiting_elements = 0

    def add(self, values: NDArray[np.floating]) -> None:
        """Adds the elements of `values`, which may be changed afterwards."""
        if values.size == 0:
            return
        with np.errstate(invalid="ignore"):  # NaN among the values is counted, not warned about
            low, high = float(values.min()), float(values.max())
        binned, nonfinite = spread(values), 0
        if not math.isfinite(low) or not math.isfinite(high):
            finite = values[np.isfinite(values)]
            nonfinite = int(values.size - finite.size)
            low, high = (float(finite.min()), float(finite.max())) if finite.size else (math.inf, -math.inf)
            binned = binned[np.isfinite(binned)]
        channels = _UNKNOWN if nonfinite or self._axis is None else _channels(values, self._axis)
        self._channels = channels if self._channels is None else _joined(self._channels, channels)
        self._count += int(values.size) - nonfinite
        self._nonfinite += nonfinite
        self._low, self._high = min(self._low, low), max(self._high, high)
        if binned.size >= _BATCH:
            self._histogram = self._histogram.including(binned, max(self._high, -self._low))
            return
        self._waiting.append(np.array(binned).ravel())
        self._waiting_elements += binned.size
        if self._waiting_elements >= _BATCH:
            self._bin()

    def result(self) -> TensorStatistics:
        """Statistics of what was added so far."""
        self._bin()
        counted = (self._count, self._low, self._high, self._nonfinite)
        return TensorStatistics(*counted, self._histogram, *(self._channels or _UNKNOWN))

    def _bin(self) -> None:
        if self._waiting:
            bound = max(self._high, -self._low)
            self._histogram = self._histogram.including(np.concatenate(self._waiting), bound)
            self._waiting, self._waiting_elements = [], 0


@dataclass(frozen=True)
class Statistics(Mapping[str, TensorStatistics]):
    """Statistics by tensor name.

    Attributes:
        tensors: One entry per tensor.
        samples: Number of samples seen.
        grams: `X^T X` of the inputs of layers, where they were asked for.
        left: Tensors that could not be observed, with the reason.
    """

    tensors: Mapping[str, TensorStatistics]
    samples: int
    grams: Mapping[LayerInput, Gram] = field(default_factory=dict)
    left: Mapping[str, str] = field(default_factory=dict)

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
        grams = dict(self.grams)
        for layer, gram in other.grams.items():
            grams[layer] = grams[layer].merge(gram) if layer in grams else gram
        return Statistics(tensors, self.samples + other.samples, grams, {**self.left, **other.left})

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


def spread(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """`values`, or of feature maps [batch, channels, height, width, ...] about 4,096 elements a sample.

    They are every n-th position, the same in each sample and channel, however the samples are batched, and 16 of each
    channel at least. n has no common factor with the last axis, so that every column takes part.
    """
    if values.ndim < 4:
        return values
    positions = math.prod(values.shape[2:])
    step = max(1, min(values.shape[1] * positions // _ELEMENTS, positions // _FEWEST_POSITIONS))
    while step > 1 and math.gcd(step, values.shape[-1]) > 1:
        step += 1
    return values if step == 1 else values.reshape(*values.shape[:2], -1)[:, :, ::step]


def _channels(values: NDArray[np.floating], axis: int) -> _Channels:
    """Sums and extremes along every axis but `axis`."""
    if not -values.ndim <= axis < values.ndim:
        return _UNKNOWN
    others = tuple(other for other in range(values.ndim) if other != axis % values.ndim)
    low, high = values.min(axis=others), values.max(axis=others)
    return values.sum(axis=others, dtype=np.float64), low.astype(np.float64), high.astype(np.float64)


def _joined(first: _Channels, second: _Channels) -> _Channels:
    """Channel sums and extremes of two parts, neither of them empty."""
    (sums, low, high), (more_sums, more_low, more_high) = first, second
    if sums is None or low is None or high is None or more_sums is None or more_low is None or more_high is None:
        return _UNKNOWN
    if sums.shape != more_sums.shape:
        return _UNKNOWN
    return sums + more_sums, np.minimum(low, more_low), np.maximum(high, more_high)
