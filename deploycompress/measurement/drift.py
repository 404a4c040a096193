"""times in order of measurement -> whether the machine was steady while they were taken.

A run of rounds drifts when its times move one way by more than the noise (Mann-Kendall test on twenty window medians)
and by enough to matter (Theil-Sen line, 5 % from end to end). Windows take out most of the correlation between
neighbouring rounds, which would make the test cry wolf.

Source: Mann, "Nonparametric tests against trend", 1945; Theil, "A rank-invariant method of linear regression", 1950.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from deploycompress.measurement.bootstrap import Floats

_WINDOWS = 20
_MIN_WINDOWS = 8
_Z = 2.576  # two-sided 1 %
_MATTERS = 0.05


@dataclass(frozen=True)
class Drift:
    """How the times moved over a measurement.

    Attributes:
        change: Relative change from the first to the last round along the fitted line (0.1 for 10 % slower).
        unstable: Whether that is both beyond the noise and large enough to matter.
    """

    change: float
    unstable: bool


def drift(times_ms: Floats) -> Drift | None:
    """The drift of round times in order, or None where fewer than eight rounds ran.

    Args:
        times_ms: [rounds] median time of each round.
    """
    if len(times_ms) < _MIN_WINDOWS:
        return None
    windows = np.array([np.median(part) for part in np.array_split(times_ms, min(_WINDOWS, len(times_ms)))])
    count = len(windows)
    later, earlier = np.tril_indices(count, -1)
    rises = windows[later] - windows[earlier]
    change = float(np.median(rises / (later - earlier))) * (count - 1) / float(np.median(windows))
    score = float(np.sign(rises).sum())
    z = (abs(score) - 1) / math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    return Drift(change, z > _Z and abs(change) > _MATTERS)
