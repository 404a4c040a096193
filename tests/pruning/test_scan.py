"""A sensitivity scan against numpy's least squares, and a group that hardly matters."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from deploycompress.calibration import LayerInput, collect
from deploycompress.calibration.gram import Gram
from deploycompress.pruning import Group, choice, find
from deploycompress.pruning.consumers import consumers
from deploycompress.pruning.scan import scanned
from tests import zoo

_FEEDS = [{"x": zoo.normal(40, 6, seed=n)} for n in range(8)]


def branches(weak: float) -> ir.Model:
    """Two hidden layers side by side, the second of which counts `weak` times as much."""
    return zoo.model(
        "g (float[N,6] x) => (float[N,3] y) { h = Gemm(x, w, b) r = Relu(h) a = Gemm(r, u, c)"
        " i = Gemm(x, v, d) s = Relu(i) e = Gemm(s, t, f) y = Add(a, e) }",
        w=zoo.normal(6, 8),
        b=zoo.normal(8),
        u=zoo.normal(8, 3),
        c=zoo.normal(3),
        v=zoo.normal(6, 8, seed=1),
        d=zoo.normal(8, seed=1),
        t=weak * zoo.normal(8, 3, seed=1),
        f=zoo.normal(3, seed=1),
    )


def grams(model: ir.Model, groups: tuple[Group, ...]) -> dict[LayerInput, Gram]:
    rows = [reader.rows for group in groups for reader in consumers(group)]
    return dict(collect(model, [], _FEEDS, grams=rows).grams)


def test_the_error_of_a_group_is_that_of_the_outputs_after_least_squares() -> None:
    model = branches(1)
    grouping = find(model)
    found = grams(model, grouping.groups)
    curves = choice.curves(grouping.groups, "second-order", found)
    first = grouping.groups[0]
    scan = scanned(grouping, curves, found, _FEEDS)[first]
    x = np.concatenate([feed["x"] for feed in _FEEDS]).astype(np.float64)
    hidden = np.maximum(0, x @ zoo.normal(6, 8) + zoo.normal(8))
    other = np.maximum(0, x @ zoo.normal(6, 8, seed=1) + zoo.normal(8, seed=1))
    part = hidden @ zoo.normal(8, 3) + zoo.normal(3)
    whole = part + other @ zoo.normal(8, 3, seed=1) + zoo.normal(3, seed=1)
    count = round(0.5 * 7)
    left = np.delete(np.concatenate([hidden, np.ones((len(x), 1))], axis=1), curves[first].order[:count], axis=1)
    wrong = part - left @ np.linalg.lstsq(left, part, rcond=None)[0]
    expected = (wrong**2).sum() / (whole**2).sum()
    np.testing.assert_allclose(scan.errors[count], expected, rtol=0.01)  # damped by 1e-4 of the diagonal


def test_a_group_that_hardly_reaches_the_outputs_costs_little() -> None:
    model = branches(0.01)
    grouping = find(model)
    found = grams(model, grouping.groups)
    curves = choice.curves(grouping.groups, "second-order", found)
    matters, does_not = scanned(grouping, curves, found, _FEEDS).values()
    assert does_not.errors[-1] < 0.001 * matters.errors[-1]
    local = [curve.errors[-1] for curve in curves.values()]
    assert local[1] > 0.1 * local[0]
