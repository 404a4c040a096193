"""run times in independent sections -> interval of a quantile: q exp(-r) .. q exp(+r), r = t S / sqrt(k).

q is the quantile of all runs, t Student's quantile for k - 1 degrees of freedom, and S^2 = sum (log q_i - log q)^2 /
(k - 1) over the quantiles q_i of the k sections ("sectioning"). A section is a process, or a stretch of rounds where
there is one process only: what correlates the runs within it does no harm. A section has too few runs for an unbiased
p95; taking distances from the quantile of all runs, not from the mean of the q_i, counts that bias as uncertainty.

Source: Asmussen and Glynn, "Stochastic Simulation", 2007, section III.5a; Nakayama, "Confidence intervals for quantiles
using sectioning when applying variance-reduction techniques", ACM TOMACS 24(4), 2014.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from deploycompress.measurement.compare import student_t
from deploycompress.records.measured import Interval


def quantile_interval(times: NDArray[np.float64], q: float, *, sections: int, level: float = 0.95) -> Interval:
    """Interval of the `q` quantile, in the unit of the times.

    Args:
        times: [rounds, runs] positive times; the sections follow one another and are equally long, within one round.
        q: 0.5 for the median, 0.95 for p95.
        sections: Number of sections, two or more.
        level: Confidence level.

    Raises:
        ValueError: There are fewer rounds than sections, or fewer than two sections.
    """
    if not 2 <= sections <= len(times):
        raise ValueError(f"{len(times)} rounds cannot be cut into {sections} sections; it takes two or more")
    whole = float(np.quantile(times, q))
    distances = np.log([np.quantile(part, q) / whole for part in np.array_split(times, sections)])
    spread = math.sqrt(float(np.square(distances).sum()) / (sections - 1))
    reach = student_t(0.5 + level / 2, sections - 1) * spread / math.sqrt(sections)
    return Interval(whole * math.exp(-reach), whole * math.exp(reach), level)
