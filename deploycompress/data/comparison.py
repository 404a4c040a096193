"""two sets of samples -> the samples they share, and whether they were drawn from one distribution.

Overlap is equality of sha256 over the feeds. Drift is a two-sample Kolmogorov-Smirnov test on the size, minimum,
maximum, mean and deviation of each input, one value a sample:

    D = sup_x |F_1(x) - F_2(x)|,   p = 2 sum_{j >= 1} (-1)^(j-1) exp(-2 j^2 l^2),   l = (s + 0.12 + 0.11/s) D

with s = sqrt(n m / (n + m)), rejected where p < 0.05 / (number of statistics) (Bonferroni: at most one false alarm in
twenty comparisons of the same distribution, whatever the dependence between the statistics) and D >= 0.2, because a
difference that only thousands of samples can show moves no range.

Source: Stephens 1970, "Use of the Kolmogorov-Smirnov ... without extensive tables" (the approximation of p, good from
four samples up and conservative where values are tied).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from deploycompress.data.summary import Summary
from deploycompress.records.symptoms import Symptom, listed

_STATISTICS = ("number of values", "smallest value", "largest value", "mean", "deviation")  # the fields of Figures
_LEVEL = 0.05
_SMALLEST_DISTANCE = 0.2
_FEWEST = 8
_TERMS = 100


def overlap(first: Sequence[Summary], second: Sequence[Summary]) -> Iterator[Symptom]:
    """Samples of `second` (evaluation) that are in `first` (calibration) too."""
    names = {summary.digest: summary.name for summary in first}
    pairs = [f"{names[each.digest]} = {each.name}" for each in second if each.digest in names]
    if pairs:
        yield Symptom(
            "overlap",
            "warning",
            f"{len(pairs)} of {len(second)} evaluation samples are calibration samples as well",
            listed(pairs),
            "an accuracy measured on them is too good",
            "remove them from one of the two sets",
        )


def drift(first: Sequence[Summary], second: Sequence[Summary]) -> Iterator[Symptom]:
    """Statistics of inputs that differ between the sets by more than chance; the one that differs most is told."""
    if min(len(first), len(second)) < _FEWEST:
        return
    tests = []
    inputs = [name for name in first[0].inputs if all(name in each.inputs for each in (*first, *second))]
    for name in inputs:
        for number, statistic in enumerate(_STATISTICS):
            one, two = (np.array([each.inputs[name][number] for each in each_set]) for each_set in (first, second))
            if len(np.unique(np.concatenate([one, two]))) > 1:
                tests.append((name, statistic, one, two, *kolmogorov_smirnov(one, two)))
    found = [each for each in tests if each[5] < _LEVEL / len(tests) and each[4] >= _SMALLEST_DISTANCE]
    if found:
        name, statistic, one, two, distance, p_value = max(found, key=lambda each: each[4])
        yield Symptom(
            "drift",
            "warning",
            f"the {statistic} of input {name!r} differs between calibration (median {np.median(one):.4g}) and "
            f"evaluation (median {np.median(two):.4g}): D = {distance:.2f}, p = {p_value:.1g}",
            f"{len(found)} of {len(tests)} statistics differ",
            "ranges found on the one do not fit the other",
            "draw both from the same source with the same preprocessing",
        )


def kolmogorov_smirnov(first: NDArray[np.floating], second: NDArray[np.floating]) -> tuple[float, float]:
    """Distance D of the empirical distributions and its two-sided p-value."""
    one, two = np.sort(first), np.sort(second)
    at = np.concatenate([one, two])
    below = [np.searchsorted(each, at, side="right") / len(each) for each in (one, two)]
    distance = float(np.abs(below[0] - below[1]).max())
    root = math.sqrt(len(one) * len(two) / (len(one) + len(two)))
    scaled = (root + 0.12 + 0.11 / root) * distance
    if scaled < 0.2:  # the alternating series does not settle in _TERMS terms; p is above 1 - 1e-10 there
        return distance, 1.0
    terms = (2 * (-1) ** (j - 1) * math.exp(-2 * j * j * scaled * scaled) for j in range(1, _TERMS + 1))
    return distance, min(max(math.fsum(terms), 0.0), 1.0)
