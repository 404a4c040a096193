"""The share of its work that a node has left, foretold, against the multiplications of the model really cut."""

from __future__ import annotations

import numpy as np
import pytest

from deploycompress.pruning import cost, find, masks, remove
from deploycompress.pruning.work import Bill, work
from tests.pruning import nets
from tests.pruning.running import chosen

EVERY_NET = {**nets.CONVOLUTIONAL, **nets.ATTENTIONS}


@pytest.mark.parametrize("name", EVERY_NET)
def test_the_work_foretold_is_that_of_the_cut_model(name: str) -> None:
    model = EVERY_NET[name]()
    shapes = {
        value.name or "": [2 if not isinstance(d, int) else d for d in value.shape or ()]
        for value in model.graph.inputs
    }
    grouping = find(model)
    found = work(grouping, grouping.groups)
    gone = chosen(grouping, 0.4)
    after = cost.by_output(remove(model, masks(grouping, gone)), shapes)
    before = cost.by_output(model, shapes)
    left = found.left(np.asarray([float(len(gone[group])) for group in grouping.groups]))
    assert before
    for node, share in zip(found.nodes, left, strict=True):
        if node in before:  # whole numbers: nothing is lost but the rounding of float64
            assert share * before[node] == pytest.approx(after.get(node, 0), rel=1e-9), node


def test_one_group_at_several_widths_is_each_of_them_alone() -> None:
    grouping = find(nets.residual())
    found = work(grouping, grouping.groups)
    bill = Bill(found, 3.0, np.arange(1.0, len(found.nodes) + 1), "things")
    gone, counts = np.asarray([2.0, 1.0]), np.asarray([0, 3, 5])
    several = bill.along(gone, 1, counts)
    np.testing.assert_allclose(several, [bill.total(np.asarray([2.0, count])) for count in counts], rtol=1e-12)
    assert bill.total(np.zeros(2)) == pytest.approx(3 + sum(range(1, len(found.nodes) + 1)))
