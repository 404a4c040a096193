"""model, its groups -> what a run costs here for any widths: a measured table of node times, a line fitted to each.

The model is cut to a few widths, the same share of every group, and all of these run in turn under the profiler. The
time of a node at a width belongs to the share of its work that is left there (see `pruning.work`), and

    time of a node = fixed part + rate x share of its work

is fitted to it, with neither part negative. Every cut times all nodes in the place where they run, so the table takes
as long for a hundred layers as for ten, and what the runtime adds between them is part of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deploycompress.flow.cutting import Subject, cut
from deploycompress.flow.layer_times import profiled, tag_in, tagged, tags
from deploycompress.pruning.allocation import levels
from deploycompress.pruning.curves import Floats
from deploycompress.pruning.groups import Group
from deploycompress.pruning.labels import Array
from deploycompress.pruning.work import Bill, Work

_SHARES = (0.0, 0.25, 0.5, 0.75)


@dataclass(frozen=True, eq=False)
class WidthTimes:
    """The table.

    Attributes:
        bill: What a run costs, in microseconds.
        measured_us: Kernel time of the model at each of the widths.
        predicted_us: What the bill says of it.
    """

    bill: Bill
    measured_us: tuple[float, ...]
    predicted_us: tuple[float, ...]

    @property
    def worst(self) -> float:
        """The largest relative difference between the two."""
        pairs = zip(self.measured_us, self.predicted_us, strict=True)
        return max(abs(predicted / measured - 1) for measured, predicted in pairs)


def width_times(found: Subject, work: Work, multiples: dict[Group, int]) -> WidthTimes:
    """Measures the table.

    Args:
        found: The model and its groups.
        work: How the work of its nodes depends on widths.
        multiples: What the widths of each group are multiples of.
    """
    gone = [_near(share, work, multiples) for share in _SHARES]
    cuts = [cut(found, _first(work, each)).model for each in gone]
    tag_of = tags(found.floats)
    graphs = [tagged(model, tag_of, floats=True) for model in cuts]
    tables = profiled(graphs, found.given.timed, found.given.config)
    left = np.asarray([work.left(each) for each in gone])  # [widths, nodes]
    times = np.zeros_like(left)
    for row, table in zip(times, tables, strict=True):
        for tag, spent_us in table.by_tag.items():
            row[int((tag_in(tag) or "0")[-6:])] += spent_us
    fixed, rates = _lines(left, times)
    bill = Bill(work, float(fixed.sum()), rates, "microseconds")
    return WidthTimes(bill, tuple(times.sum(axis=1).tolist()), tuple(bill.total(each) for each in gone))


def _first(work: Work, gone: Floats) -> dict[Group, Array]:
    """The first so many units of each group: which ones does not change the time."""
    return {group: np.arange(int(count)) for group, count in zip(work.groups, gone, strict=True) if count}


def _near(share: float, work: Work, multiples: dict[Group, int]) -> Floats:
    """Numbers of units of each group that may go and are nearest to this share of it."""
    allowed = [levels(group, multiples[group]) for group in work.groups]
    wanted = [share * group.units for group in work.groups]
    return np.asarray([float(some[np.argmin(np.abs(some - n))]) for some, n in zip(allowed, wanted, strict=True)])


def _lines(left: Floats, times: Floats) -> tuple[Floats, Floats]:
    """Least squares of times [widths, nodes] on the shares left, a line for each node, no part of it negative."""
    centred = left - left.mean(axis=0)
    spread = np.square(centred).sum(axis=0)
    rates = np.maximum(0, (centred * times).sum(axis=0) / np.where(spread > 0, spread, 1))
    fixed = times.mean(axis=0) - rates * left.mean(axis=0)
    through_zero = (left * times).sum(axis=0) / np.square(left).sum(axis=0)
    return np.maximum(0, fixed), np.where(fixed < 0, through_zero, rates)
