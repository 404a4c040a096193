"""unit -> how much it matters, from its weights alone or with what flows through them; the lowest goes first.

L1, L2      sum of |w|^p over all that the unit runs through      Li et al., ICLR 2017; Fang et al., CVPR 2023
batchnorm   |scale| of its BatchNormalization                     Liu et al., ICCV 2017
LAMP        w_u^2 / sum of w_v^2 over v not smaller than u        Lee et al., ICLR 2021, of units instead of weights
activation  sum of |w| |x|, |x| the norm of what it multiplies    Sun et al., 2023 (Wanda), over the layers that read it
APoZ        share of zeros in what it gives                       see `zeros`; the most go first
random      the baseline that must lose
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from deploycompress.calibration import LayerInput
from deploycompress.calibration.gram import Gram
from deploycompress.errors import UnsupportedError
from deploycompress.passes import graph as g
from deploycompress.pruning.consumers import consumers
from deploycompress.pruning.groups import Group, Member

Scores = NDArray[np.float64]


def magnitude(group: Group, power: int) -> Scores:
    """Sum of |w|^power over all weights a unit runs through [units]."""
    return sum((_along(member, group.units, power) for member in group.members), np.zeros(group.units))


def batch_norm(group: Group) -> Scores:
    """Magnitude of the scales that a BatchNormalization multiplies a unit with [units].

    Raises:
        UnsupportedError: It runs through none.
    """
    scales = [
        member
        for member in group.members
        if any(g.is_op(use.node, "BatchNormalization") and use.idx == 1 for use in member.weight.uses())
    ]
    if not scales:
        raise UnsupportedError(
            f"the group of {group.name!r} runs through no BatchNormalization", remedy="choose another --score"
        )
    return sum((_along(member, group.units, 1) for member in scales), np.zeros(group.units))


def lamp(group: Group) -> Scores:
    """Share of a unit's squares in those of all that are not smaller, in (0, 1] [units]."""
    squares = magnitude(group, 2)
    order = np.argsort(squares)[::-1]
    found = np.empty(group.units)
    found[order] = squares[order] / np.maximum(np.cumsum(squares[order]), np.finfo(np.float64).tiny)
    return found


def activation(group: Group, grams: Mapping[LayerInput, Gram]) -> Scores:
    """Sum of |w| times the norm of what it multiplies, over the layers that read a unit [units]; L1 where none does."""
    found, read = np.zeros(group.units), False
    for consumer in consumers(group):
        if consumer.rows in grams:
            norms = np.sqrt(np.maximum(0, np.diagonal(grams[consumer.rows].products[0])))
            own = np.abs(consumer.matrix).sum(axis=1) * norms
            mine = consumer.units >= 0
            found += np.bincount(consumer.units[mine], weights=own[mine], minlength=group.units)
            read = True
    return found if read else magnitude(group, 1)


def random(group: Group, seed: int) -> Scores:
    """Numbers that depend on the seed and the name of the group alone [units]."""
    return np.random.default_rng([seed, *group.name.encode()]).random(group.units)


def _along(member: Member, units: int, power: int) -> Scores:
    weight = g.array(member.weight)
    assert weight is not None
    others = tuple(axis for axis in range(weight.ndim) if axis != member.axis)
    sums = (np.abs(weight.astype(np.float64)) ** power).sum(axis=others)
    mine = member.units >= 0
    return np.bincount(member.units[mine], weights=sums[mine], minlength=units).astype(np.float64)
