"""Zero padding moves into the convolution or average pool after it."""

from __future__ import annotations

import numpy as np
import pytest

from deploycompress.passes.fold_pad import FoldPad
from tests import zoo
from tests.passes.running import assert_same_outputs


def padded(after: str, pads: list[int], options: str = "", fill: float | None = None, opset: int = 17) -> object:
    arguments = "x, pads" + (", fill" if fill is not None else "")
    weights = {"pads": np.asarray(pads, np.int64)}
    if fill is not None:
        weights["fill"] = np.float32(fill)
    if "w)" in after:
        weights["w"] = zoo.normal(4, 3, 3, 3)
    return zoo.model(
        f"g (float[1,3,6,6] x) => (float[A,B,C,D] y) {{ p = Pad{options}({arguments}) y = {after} }}",
        opset=opset,
        **weights,
    )


@pytest.mark.parametrize("pads", [[0, 0, 1, 2, 0, 0, 3, 1], [0] * 8])
@pytest.mark.parametrize(
    "after", ["Conv<pads=[1,0,2,1]>(p, w)", 'Conv<auto_pad="VALID">(p, w)', "Conv<strides=[2,2]>(p, w)"]
)
def test_conv_takes_uneven_pads_and_adds_them_to_its_own(after: str, pads: list[int]) -> None:
    before = padded(after, pads)
    result = FoldPad()(before)
    assert [node.op_type for node in result.model.graph] == ["Conv"]
    assert_same_outputs(before, result.model)


@pytest.mark.parametrize("options", ["", ", count_include_pad=1, pads=[1,1,0,0]"])
def test_average_pool_counts_the_zeros_it_takes_in(options: str) -> None:
    before = padded(f"AveragePool<kernel_shape=[3,3]{options}>(p)", [0, 0, 1, 1, 0, 0, 0, 2])
    result = FoldPad()(before)
    assert [node.op_type for node in result.model.graph] == ["AveragePool"]
    assert_same_outputs(before, result.model)


def test_pads_given_as_attribute_before_opset_11() -> None:
    before = zoo.model(
        "g (float[1,3,6,6] x) => (float[1,4,6,6] y) { p = Pad<pads=[0,0,1,1,0,0,1,1], value=0.0>(x) y = Conv(p, w) }",
        opset=9,
        w=zoo.normal(4, 3, 3, 3),
    )
    assert [node.op_type for node in FoldPad()(before).model.graph] == ["Conv"]
    assert_same_outputs(before, FoldPad()(before).model)


def test_pads_of_named_axes_from_opset_18() -> None:
    before = zoo.model(
        "g (float[1,3,6,6] x) => (float[1,4,7,7] y) { p = Pad(x, pads, , axes) y = Conv(p, w) }",
        opset=18,
        ir_version=8,
        pads=np.asarray([1, 2, 2, 1], np.int64),
        axes=np.asarray([-1, 2], np.int64),
        w=zoo.normal(4, 3, 3, 3),
    )
    result = FoldPad()(before)
    assert list(next(iter(result.model.graph)).attributes["pads"].as_ints()) == [2, 1, 1, 2]
    assert_same_outputs(before, result.model)


@pytest.mark.parametrize(
    ("after", "pads", "options", "fill", "reason"),
    [
        ("Conv(p, w)", [0, 0, 1, 1, 0, 0, 1, 1], "", 1.0, "it pads with something other than zero"),
        ("Conv(p, w)", [0, 0, 1, 1, 0, 0, 1, 1], '<mode="edge">', None, "it does not pad with a constant"),
        ("Conv(p, w)", [0, 0, -1, 0, 0, 0, 0, 0], "", None, "it crops"),
        (
            "MaxPool<kernel_shape=[2,2]>(p)",
            [0, 0, 1, 1, 0, 0, 1, 1],
            "",
            None,
            "it is not read by one Conv or AveragePool alone",
        ),
        ("AveragePool<kernel_shape=[2,2]>(p)", [0, 1, 0, 0, 0, 0, 0, 0], "", None, "it pads the batch or channel axis"),
        (
            'Conv<auto_pad="SAME_UPPER">(p, w)',
            [0, 0, 1, 1, 0, 0, 1, 1],
            "",
            None,
            "the Conv after it computes its own pads (auto_pad)",
        ),
        (
            "AveragePool<kernel_shape=[3,3], pads=[1,1,1,1]>(p)",
            [0, 0, 1, 1, 0, 0, 1, 1],
            "",
            None,
            "the AveragePool after it leaves its own pads out of the average",
        ),
        (
            "AveragePool<kernel_shape=[2,2]>(p)",
            [0, 0, 2, 0, 0, 0, 0, 0],
            "",
            None,
            "the pads would be as large as the kernel of the AveragePool after it",
        ),
    ],
)
def test_padding_that_cannot_move_says_why(
    after: str, pads: list[int], options: str, fill: float | None, reason: str
) -> None:
    result = FoldPad()(padded(after, pads, options, fill))
    assert result.changes == ()
    assert [r.reason for r in result.refusals] == [reason]
