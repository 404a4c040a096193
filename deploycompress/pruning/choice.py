"""groups, share to remove, score -> which units go: the same share of every group, in widths the kernels like.

A group keeps at least one unit. Channels are kept in multiples of `round_to`; heads and other units that are several
indices wide are whole by themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from deploycompress.calibration import LayerInput
from deploycompress.calibration.gram import Gram
from deploycompress.pruning import scores
from deploycompress.pruning.consumers import consumers
from deploycompress.pruning.groups import Group
from deploycompress.pruning.labels import Array
from deploycompress.pruning.second_order import least

Score = Literal["l1", "l2", "batchnorm", "lamp", "activation", "second-order", "random"]
SCORES: tuple[Score, ...] = ("l1", "l2", "batchnorm", "lamp", "activation", "second-order", "random")
FROM_SAMPLES: tuple[Score, ...] = ("activation", "second-order")


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


def choose(
    wanted: Mapping[Group, int], score: Score, grams: Mapping[LayerInput, Gram] | None = None, seed: int = 0
) -> dict[Group, Array]:
    """The units to remove, by group.

    Args:
        wanted: How many of each.
        score: What decides.
        grams: Second moments of what the groups' consumers read; needed for the scores `FROM_SAMPLES`.
        seed: For the random score.

    Raises:
        UnsupportedError: A group runs through no BatchNormalization, and its scale was to decide.
    """
    return {group: _lowest(group, count, score, grams or {}, seed) for group, count in wanted.items()}


def _lowest(group: Group, count: int, score: Score, grams: Mapping[LayerInput, Gram], seed: int) -> Array:
    if score == "second-order":
        readers = [
            reader
            for reader in consumers(group)
            if reader.rows in grams and np.ptp(np.bincount(reader.units[reader.units >= 0])) == 0
        ]
        if readers:
            return least(readers, grams, group.units, count)
    found = {
        "l1": lambda: scores.magnitude(group, 1),
        "l2": lambda: scores.magnitude(group, 2),
        "second-order": lambda: scores.magnitude(group, 2),
        "batchnorm": lambda: scores.batch_norm(group),
        "lamp": lambda: scores.lamp(group),
        "activation": lambda: scores.activation(group, grams),
        "random": lambda: scores.random(group, seed),
    }[score]()
    return np.argsort(found, kind="stable")[:count]
