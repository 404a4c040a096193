"""groups, score -> the error curve of each group: the order in which its units go, and what is wrong after each.

With Gram matrices the error is that of the layers that read the group, after repair (see `second_order`), whatever the
score that gives the order; without, it is the share of the scores that went. `counts` are the same share of every
group, in widths the kernels like: channels in multiples of `round_to`, one unit at least; heads and other units that
are several indices wide are whole by themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from deploycompress.calibration import LayerInput
from deploycompress.calibration.gram import Gram
from deploycompress.pruning import scores, second_order
from deploycompress.pruning.consumers import Consumer, consumers
from deploycompress.pruning.curves import Curve, Floats
from deploycompress.pruning.groups import Group
from deploycompress.records.pruning import Score


def counts(groups: Sequence[Group], ratio: float, round_to: int) -> dict[Group, int]:
    """How many units of each group go: at most the share `ratio` of them, so that what is left is a round number."""
    found = {}
    for group in groups:
        kept = max(1, group.units - int(ratio * group.units + 1e-9))
        if group.width == 1:
            kept = min(group.units, -(-kept // round_to) * round_to)
        if kept < group.units:
            found[group] = group.units - kept
    return found


def curves(
    groups: Sequence[Group],
    score: Score,
    grams: Mapping[LayerInput, Gram] | None = None,
    seed: int = 0,
    zeros: Mapping[Group, Floats] | None = None,
) -> dict[Group, Curve]:
    """The curve of each group.

    Args:
        groups: Those that may be cut.
        score: What decides the order.
        grams: Second moments of what the groups' consumers read; needed for the scores `FROM_SAMPLES`.
        seed: For the random score.
        zeros: Share of zeros of the units of each group, for the score `apoz`; groups that have none go by L2.

    Raises:
        UnsupportedError: A group runs through no BatchNormalization, and its scale was to decide.
    """
    return {group: _curve(group, score, grams or {}, seed, (zeros or {}).get(group)) for group in groups}


def _curve(group: Group, score: Score, grams: Mapping[LayerInput, Gram], seed: int, zeros: Floats | None) -> Curve:
    readers = [reader for reader in consumers(group) if reader.rows in grams and _is_even(reader)]
    if score == "second-order" and readers:
        return second_order.curve(readers, grams, group.units)
    found = {
        "l1": lambda: scores.magnitude(group, 1),
        "l2": lambda: scores.magnitude(group, 2),
        "second-order": lambda: scores.magnitude(group, 2),
        "batchnorm": lambda: scores.batch_norm(group),
        "lamp": lambda: scores.lamp(group),
        "apoz": lambda: scores.magnitude(group, 2) if zeros is None else 1 - zeros,
        "activation": lambda: scores.activation(group, grams),
        "random": lambda: scores.random(group, seed),
    }[score]()
    if readers:
        return second_order.curve(readers, grams, group.units, np.argsort(found, kind="stable"))
    return Curve.of_scores(found)


def _is_even(reader: Consumer) -> bool:
    """Whether each unit is as many of the rows of the layer's weight."""
    return bool(np.ptp(np.bincount(reader.units[reader.units >= 0])) == 0)
