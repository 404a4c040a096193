"""update -> sparsity: s_t = s_f (1 - (1 - (t - t0) / (t1 - t0))^3), from 0 at t0 to s_f at t1: fast first, slow last.

Source: Zhu & Gupta 2017, To prune, or not to prune (arXiv:1710.01878), equation 1 with s_i = 0.
"""

from __future__ import annotations


def sparsity_at(update: int, updates: int, *, final: float, begin: float = 0.0, end: float = 0.8) -> float:
    """Share of the weights that are zero after update number `update` (from 0) of `updates`.

    Args:
        update: Updates done.
        updates: Updates of the whole run.
        final: s_f.
        begin: Share of the run before anything is pruned.
        end: Share of the run after which the masks stay, so that what is left can settle.
    """
    first, last = begin * updates, end * updates
    if update >= last:
        return final
    if update < first:
        return 0.0
    return final * (1 - (1 - (update - first) / (last - first)) ** 3)
