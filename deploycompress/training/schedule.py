"""update -> share of the peak learning rate: linear warm-up from 0, then cosine, linear or no decay to 0.

A pure function of the update number: a resumed run needs no scheduler state.
Source: Loshchilov & Hutter 2017, "SGDR", arXiv:1608.03983, equation 5 with eta_min = 0 and one period.
"""

from __future__ import annotations

import math
from typing import Literal


def factor(update: int, updates: int, *, warmup: float, schedule: Literal["cosine", "linear", "constant"]) -> float:
    """Share of the peak rate for update number `update` (from 0) of `updates`; in (0, 1].

    Args:
        update: Number of updates done before this one.
        updates: Updates of the whole run.
        warmup: Share of the run over which the rate rises.
        schedule: How it falls afterwards.
    """
    rising = math.ceil(warmup * updates)
    if update < rising:
        return (update + 1) / (rising + 1)
    progress = (update - rising) / (updates - rising)
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    return 1 - progress if schedule == "linear" else 1.0
