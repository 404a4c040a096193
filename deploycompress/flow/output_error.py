"""outputs of two models on the same feeds -> sqrt(sum (y - y')^2 / sum (y - mean y)^2), without padded positions.

0 is equal, 1 is what a constant would do. Over several float outputs the mean of the squares is taken, so that the size
of an output does not weigh it. What a model gives for a padded token means nothing and would drown the rest.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploycompress.calibration.padding import mask_of
from deploycompress.errors import UnsupportedError
from deploycompress.runtime.session import Feed

Outputs = Mapping[str, Any]


def relative_error(runs: Iterable[tuple[Feed, Outputs, Outputs]]) -> float:
    """Relative error of the second outputs over all feeds; infinite where one alone holds a NaN or infinity.

    Args:
        runs: Feed, expected outputs and outputs found, one triple a feed.

    Raises:
        UnsupportedError: No output holds floats.
    """
    errors: dict[str, float] = {}
    moments: dict[str, NDArray[np.float64]] = {}
    for feed, expected, found in runs:
        mask = mask_of(feed)
        for name, values in expected.items():
            if not isinstance(values, np.ndarray) or values.dtype.kind != "f":
                continue
            pair = [np.asarray(each[name], np.float64) for each in (expected, found)]
            if mask is not None and values.shape[: mask.ndim] == mask.shape:
                pair = [each[mask] for each in pair]
            y, other = pair
            alike = ~np.isfinite(y) & ((y == other) | (np.isnan(y) & np.isnan(other)))
            y, other = y[~alike], other[~alike]
            with np.errstate(invalid="ignore", over="ignore"):
                errors[name] = errors.get(name, 0.0) + float(((y - other) ** 2).sum())
                moments[name] = moments.get(name, 0.0) + np.array([y.size, y.sum(), (y**2).sum()])
    if not errors:
        raise UnsupportedError("there is no float output to compare")
    shares = [_share(errors[name], moments[name]) for name in errors]
    return math.sqrt(sum(shares) / len(shares))


def _share(error: float, moments: NDArray[np.float64]) -> float:
    """Squared error as a share of the variance."""
    count, total, squares = (float(moment) for moment in moments)
    variation = squares - total**2 / count if count else 0.0
    if error == 0.0:
        return 0.0
    return error / variation if variation > 0 and math.isfinite(error) else math.inf
