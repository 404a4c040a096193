"""groups, score, allocation -> for any amount to save, which units of which group go.

    uniform      the same share of every group
    global       one threshold on scores, those of each group divided by their mean
    lamp         one threshold on LAMP scores
    sensitivity  least error of the model's outputs for the multiplications saved
    latency      least error of the model's outputs for the time saved, on this machine

An amount is the share of the multiplications (of the time for latency) to save; for uniform it is the share of units.
Without samples the errors are those of the scores alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np

from deploycompress import model as models
from deploycompress.calibration import LayerInput, collect
from deploycompress.calibration.gram import Gram
from deploycompress.errors import UnsupportedError
from deploycompress.flow.cutting import Subject
from deploycompress.flow.held_out import Part
from deploycompress.flow.width_times import width_times
from deploycompress.passes import graph as g
from deploycompress.pruning import Group, choice, cost, scores
from deploycompress.pruning.allocation import allocate, least, levels
from deploycompress.pruning.consumers import consumers
from deploycompress.pruning.curves import Curve, Floats
from deploycompress.pruning.labels import Array
from deploycompress.pruning.mending import ROWS_OF_A_FEED
from deploycompress.pruning.scan import scanned
from deploycompress.pruning.work import Bill, work
from deploycompress.pruning.zeros import zeros
from deploycompress.records.progress import Track
from deploycompress.records.pruning import FROM_SAMPLES, Allocation, Score

_GRAM_BYTES = 2 << 30
_SCAN_FEEDS = 6  # of eight samples


@dataclass(frozen=True, eq=False)
class Widths:
    """What goes for any amount to save.

    Attributes:
        allocation: How amounts are shared out among the groups.
        curves: What removing units of each group costs.
        bill: What a run costs.
        allowed: Numbers of units of each group that may go.
        round_to: What channels are kept in multiples of, for uniform shares.
        notes: What is to be known about the bill.
    """

    allocation: Allocation
    curves: Mapping[Group, Curve]
    bill: Bill
    allowed: Mapping[Group, Array]
    round_to: int
    notes: tuple[str, ...] = ()

    @property
    def most(self) -> float:
        """The largest amount."""
        if self.allocation == "uniform":
            return 0.99
        return 1 - least(self.allowed, self.bill) / self._whole

    @property
    def _whole(self) -> float:
        return self.bill.total(np.zeros(len(self.bill.work.groups)))

    def at(self, amount: float) -> dict[Group, Array]:
        """The units that go for an amount, those of the largest amount where that is less."""
        if self.allocation == "uniform":
            return self._units(choice.counts(self.bill.work.groups, amount, self.round_to))
        limit = max(self._whole * (1 - amount), least(self.allowed, self.bill) * (1 + 1e-9))
        by_unit = self.allocation in ("global", "lamp")
        found = allocate(self.curves, self.allowed, self.bill, limit, by_unit=by_unit)
        return self._units(found or {})

    def at_ratio(self, ratio: float) -> dict[Group, Array]:
        """The units that go where a run is to cost what it does with this share of every group gone."""
        even = choice.counts(self.bill.work.groups, ratio, self.round_to)
        if self.allocation == "uniform" or not even:
            return self._units(even)
        gone = np.asarray([float(even.get(group, 0)) for group in self.bill.work.groups])
        return self.at(1 - self.bill.total(gone) / self._whole)

    def _units(self, counts: Mapping[Group, int]) -> dict[Group, Array]:
        return {group: self.curves[group].order[:count] for group, count in counts.items()}


def widths(
    found: Subject, score: Score, allocation: Allocation, round_to: int | None, seed: int, track: Track
) -> Widths:
    """Scores the groups of a model, and measures what the allocation needs.

    Args:
        found: The model and its groups.
        score: What decides the order within a group.
        allocation: What decides how much of each group.
        round_to: What channels are kept in multiples of; None for what the kernels like where time decides, else 1.
        seed: For the random score.
        track: Shows progress.

    Raises:
        UnsupportedError: The score does not fit the model.
    """
    multiples = {group: round_to or (_liked(group) if allocation == "latency" else 1) for group in found.free}
    spends = work(found.grouping, found.free)
    needs_grams = score in FROM_SAMPLES or allocation in ("sensitivity", "latency")
    grams = _grams(found, found.fit, track) if needs_grams and found.fit is not None else {}
    folder, config = models.weights_dir(found.floats), found.given.config
    silent: Mapping[Group, Floats] = {}
    if score == "apoz" and found.fit is not None:
        silent = zeros(found.floats, found.free, found.fit, weights_dir=folder, config=config)
    curves = choice.curves(found.free, score, grams, seed, silent)
    notes: tuple[str, ...] = ()
    if allocation in ("sensitivity", "latency") and found.fit is not None:
        feeds = list(islice(found.fit, _SCAN_FEEDS))
        curves = scanned(found.grouping, curves, grams, feeds, weights_dir=folder, config=config, track=track)
    if allocation == "lamp":
        curves = {group: Curve.of_scores(scores.lamp(group), whole=1.0) for group in found.free}
    if allocation == "global":
        curves = {group: _of_mean_one(curve) for group, curve in curves.items()}
    if allocation == "latency":
        table = width_times(found, spends, multiples)
        bill = table.bill
        notes = (f"the table of times is within {100 * table.worst:.0f} % of the whole models it was measured on",)
    else:
        shapes = {name: np.shape(value) for name, value in found.given.timed.items()}
        macs = cost.by_output(found.floats, shapes)
        bill = Bill(spends, 0.0, np.asarray([float(macs.get(name, 0)) for name in spends.nodes]), "multiplications")
    allowed = {group: levels(group, multiples[group]) for group in found.free}
    if bill.total(np.zeros(len(found.free))) <= 0:
        raise UnsupportedError("nothing of it multiplies", remedy="give --allocate uniform and --ratio")
    return Widths(allocation, curves, bill, allowed, round_to or 1, notes)


def _liked(group: Group) -> int:
    """Widths that kernels like: channels in blocks of 8 (NCHWc of ONNX Runtime), features of products of 16."""
    through_conv = any(g.is_op(use.node, "Conv") for member in group.members for use in member.weight.uses())
    return 8 if through_conv else 16


def _of_mean_one(curve: Curve) -> Curve:
    return curve.scaled(np.full(len(curve.errors), len(curve.errors) / (float(curve.errors[-1]) or 1.0)))


def _grams(found: Subject, fit: Part, track: Track) -> Mapping[LayerInput, Gram]:
    """Second moments of what the layers behind the groups read."""
    rows = dict.fromkeys(reader.rows for group in found.free for reader in consumers(group))
    collected = collect(
        found.floats,
        [],
        fit,
        weights_dir=models.weights_dir(found.floats),
        config=found.given.config,
        grams=list(rows),
        memory_bytes=_GRAM_BYTES,
        gram_rows=ROWS_OF_A_FEED,
        track=track,
    )
    return collected.grams
