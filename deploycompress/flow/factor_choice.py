"""forms of every layer with times and errors -> which to take: within a limit on each layer, or along a whole front.

The front takes from every layer the lower convex hull of (time, error), and steps along all of them at once in order of
the error that a saved microsecond costs: each step is the cheapest left (a greedy solution of minimal sum of errors for
a sum of times, exact at the steps themselves). Source: Everett, "Generalized Lagrange Multiplier Method", Operations
Research 11, 1963.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deploycompress.factorization import Layer
from deploycompress.flow.factor_fit import Form

FASTER = 0.97  # of the layer's own time: less is within what two loads of one file differ by


@dataclass(frozen=True, eq=False)
class Timed:
    """A form and its cost.

    Attributes:
        form: The form.
        cost: Microseconds; multiplications where nothing was timed.
    """

    form: Form
    cost: float


@dataclass(frozen=True, eq=False)
class Options:
    """A layer and its forms that are faster than it, and that no other form beats in both cost and error.

    Attributes:
        layer: The layer.
        cost: Of it as it is, in the unit of the forms.
        forms: By falling error.
    """

    layer: Layer
    cost: float
    forms: tuple[Timed, ...]


Chosen = Mapping[str, Timed]
"""The form of each layer that gets one, by the name of its output."""


def best(forms: Sequence[Timed]) -> list[Timed]:
    """Those that no other beats in both cost and error, by falling error."""
    kept: list[Timed] = []
    for each in sorted(forms, key=lambda timed: (timed.cost, timed.form.error)):
        if not kept or each.form.error < kept[-1].form.error:
            kept.append(each)
    return kept


def within_error(options: Sequence[Options], most: float) -> dict[str, Timed]:
    """For each layer the fastest form whose error is at most this, where there is one."""
    found = {}
    for each in options:
        able = [timed for timed in each.forms if timed.form.error <= most]
        if able:
            found[each.layer.name] = min(able, key=lambda timed: timed.cost)
    return found


def within_parameters(options: Sequence[Options], share: float) -> dict[str, Timed]:
    """For each layer the form of least error with at most this share of its parameters, likewise."""
    found = {}
    for each in options:
        most = share * each.layer.kernel.size
        able = [timed for timed in each.forms if timed.form.parameters <= most]
        if able:
            found[each.layer.name] = min(able, key=lambda timed: timed.form.error)
    return found


def front(options: Sequence[Options]) -> list[dict[str, Timed]]:
    """Choices from none to the fastest, each one step of one layer further than the one before."""
    steps = []
    for each in options:
        cost, error = each.cost, 0.0
        for timed in _hull(each):
            steps.append(((timed.form.error - error) / (cost - timed.cost), each.layer.name, timed))
            cost, error = timed.cost, timed.form.error
    chosen: dict[str, Timed] = {}
    found = [chosen]
    for _, name, timed in sorted(steps, key=lambda step: step[0]):
        chosen = {**chosen, name: timed}
        found.append(chosen)
    return found


def _hull(options: Options) -> list[Timed]:
    """The lower convex hull of (time saved, error) from the layer itself: each step costs more than the last."""
    points: list[Timed] = []
    for timed in sorted(options.forms, key=lambda each: -each.cost):
        if points and timed.cost == points[-1].cost:
            continue
        while points and _slope(options, points[:-1], timed) <= _slope(options, points[:-1], points[-1]):
            points.pop()
        points.append(timed)
    return points


def _slope(options: Options, before: Sequence[Timed], to: Timed) -> float:
    cost, error = (before[-1].cost, before[-1].form.error) if before else (options.cost, 0.0)
    return (to.form.error - error) / (cost - to.cost)
