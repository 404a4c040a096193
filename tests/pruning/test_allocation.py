"""The greedy walk against every combination of widths; the widths that are allowed."""

from __future__ import annotations

import itertools

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploycompress.pruning.allocation import allocate, least, levels
from deploycompress.pruning.curves import Curve
from deploycompress.pruning.groups import Group, Member
from deploycompress.pruning.work import Bill, Work

_UNITS = 5


def group(name: str, units: int = _UNITS, width: int = 1) -> Group:
    member = Member(ir.Value(name=name), 0, np.repeat(np.arange(units), width))
    return Group(name, np.arange(units), (member,), False, ())


def additive(rates: list[float]) -> Bill:
    """A node for each group, which costs its rate with all units and nothing without."""
    groups = tuple(group(f"w{n}") for n in range(len(rates)))
    shares = np.concatenate([np.eye(len(rates)) / _UNITS, np.zeros((1, len(rates)))])
    work = Work(groups, tuple(f"n{n}" for n in range(len(rates))), shares, np.arange(len(rates))[:, None])
    return Bill(work, 1.0, np.asarray(rates), "things")


def convex(steps: list[float]) -> Curve:
    return Curve(np.arange(len(steps)), np.concatenate([[0.0], np.cumsum(np.sort(steps))]))


_STEPS = st.lists(st.floats(0.01, 10), min_size=_UNITS - 1, max_size=_UNITS - 1)

_RATES = st.lists(st.floats(0.5, 5), min_size=3, max_size=3)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(_STEPS, min_size=3, max_size=3), st.lists(st.floats(0.5, 5), min_size=3, max_size=3), st.floats(0.3, 0.9)
)
def test_no_combination_that_costs_as_little_has_less_error(
    steps: list[list[float]], rates: list[float], share: float
) -> None:
    """For convex curves and costs that add up, whatever the walk has reached is the best of all at that cost."""
    bill = additive(rates)
    curves = {each: convex(some) for each, some in zip(bill.work.groups, steps, strict=True)}
    allowed = {each: levels(each, 1) for each in curves}
    found = allocate(curves, allowed, bill, share * bill.total(np.zeros(3)))
    if found is None:
        assert least(allowed, bill) > share * bill.total(np.zeros(3))
        return
    counts = [found.get(each, 0) for each in curves]
    reached = bill.total(np.asarray(counts, float))
    assert reached <= share * bill.total(np.zeros(3)) + 1e-9

    def error(combination: tuple[int, ...]) -> float:
        return float(sum(curve.errors[n] for curve, n in zip(curves.values(), combination, strict=True)))

    every = itertools.product(range(_UNITS), repeat=3)
    best = min(error(each) for each in every if bill.total(np.asarray(each, float)) <= reached + 1e-9)
    assert error(tuple(counts)) <= best + 1e-9


def test_units_that_save_more_go_first_unless_every_unit_counts_the_same() -> None:
    bill = additive([10.0, 1.0])
    dear, cheap = bill.work.groups
    curves = {dear: convex([2.0] * 4), cheap: convex([1.0] * 4)}
    allowed = {each: levels(each, 1) for each in curves}
    assert allocate(curves, allowed, bill, 10.0) == {dear: 1}
    assert allocate(curves, allowed, bill, 10.0, by_unit=True) == {dear: 1, cheap: 4}


def test_a_limit_out_of_reach_is_none() -> None:
    bill = additive([1.0])
    allowed = {each: levels(each, 1) for each in bill.work.groups}
    assert allocate({bill.work.groups[0]: convex([1.0] * 4)}, allowed, bill, 1.0) is None


@pytest.mark.parametrize(
    ("found", "multiple", "left"),
    [
        (group("w", 24), 8, [24, 16, 8]),
        (group("w", 20), 8, [20, 16, 8]),
        (group("w", 6, width=4), 8, [6, 5, 4, 3, 2, 1]),
    ],
)
def test_what_is_left_is_a_multiple_or_whole_heads(found: Group, multiple: int, left: list[int]) -> None:
    assert (found.units - levels(found, multiple)).tolist() == left


def test_a_wide_group_is_looked_at_in_a_few_widths() -> None:
    kept = 1536 - levels(group("w", 1536), 16)
    assert len(kept) <= 33
    assert (kept % 16 == 0).all()


def test_scores_without_samples_cost_their_share() -> None:
    curve = Curve.of_scores(np.asarray([3.0, 1.0, 4.0]))
    assert curve.order.tolist() == [1, 0]
    np.testing.assert_allclose(curve.errors, [0, 1 / 8, 4 / 8])
    np.testing.assert_allclose(Curve.of_scores(np.asarray([3.0, 1.0]), whole=1.0).errors, [0, 1])
    assert (np.diff(curve.scaled(np.asarray([1.0, 5.0, 0.1])).errors) >= 0).all()
