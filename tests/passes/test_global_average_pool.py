"""ReduceMean over height and width is a GlobalAveragePool; a LayerNorm's mean is not."""

from __future__ import annotations

import pytest

from deploycompress.passes.global_average_pool import ReduceMeanToGlobalAveragePool
from tests import zoo
from tests.passes.running import assert_same_outputs


@pytest.mark.parametrize("axes", ["[2,3]", "[3,2]", "[-1,-2]"])
def test_mean_over_every_spatial_axis_becomes_a_pool(axes: str) -> None:
    before = zoo.model(f"g (float[N,3,5,5] x) => (float[N,3,1,1] y) {{ y = ReduceMean<axes={axes}>(x) }}")
    result = ReduceMeanToGlobalAveragePool()(before)
    assert [node.op_type for node in result.model.graph] == ["GlobalAveragePool"]
    assert_same_outputs(before, result.model)


@pytest.mark.parametrize(
    ("shape", "options", "reason"),
    [
        ("N,7,64", "axes=[2]", "it reduces axes [2] of 3, not every spatial axis of an image or volume"),
        ("N,3,5,5", "axes=[3]", "it reduces axes [3] of 4, not every spatial axis of an image or volume"),
        ("N,3,5,5", "axes=[1,2,3]", "it reduces axes [1, 2, 3] of 4, not every spatial axis of an image or volume"),
        ("N,3,5,5", "axes=[2,3], keepdims=0", "it drops the axes it reduces"),
    ],
)
def test_other_means_are_refused(shape: str, options: str, reason: str) -> None:
    model = zoo.model(f"g (float[{shape}] x) => (float y) {{ m = ReduceMean<{options}>(x) y = ReduceSum(m) }}")
    result = ReduceMeanToGlobalAveragePool()(model)
    assert result.changes == ()
    assert [r.reason for r in result.refusals] == [reason]
