"""Padding moves into the convolution or pool after it, exactly or not at all."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from deploycompress.errors import ModelRejectedError
from deploycompress.passes.fold_pad import FoldPad
from tests import zoo
from tests.passes.running import assert_same_outputs, feed, outputs


def padded(
    after: str, pads: list[int], options: str = "", fill: float | None = None, before: str = "Neg", opset: int = 17
) -> ir.Model:
    """x [1,3,6,6] -> Neg -> Pad -> the node `after`, which reads p."""
    arguments = "h, pads" + (", fill" if fill is not None else "")
    weights = {"pads": np.asarray(pads, np.int64)}
    if fill is not None:
        weights["fill"] = np.float32(fill)
    if "w)" in after:
        weights["w"] = zoo.normal(4, 3, 3, 3)
    text = f"h = {before}(x) p = Pad{options}({arguments}) y = {after}"
    return zoo.model(f"g (float[1,3,6,6] x) => (float[A,B,C,D] y) {{ {text} }}", opset=opset, **weights)


def operators(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


@pytest.mark.parametrize("pads", [[0, 0, 1, 2, 0, 0, 3, 1], [0, 0, 0, 0, 0, 0, 1, 1]])
@pytest.mark.parametrize(
    "after", ["Conv<pads=[1,0,2,1]>(p, w)", 'Conv<auto_pad="VALID">(p, w)', "Conv<strides=[2,2]>(p, w)"]
)
def test_conv_takes_uneven_pads_and_adds_them_to_its_own(after: str, pads: list[int]) -> None:
    before = padded(after, pads)
    result = FoldPad()(before)
    assert operators(result.model) == ["Neg", "Conv"]
    assert "pads" not in result.model.graph.initializers
    assert_same_outputs(before, result.model)


@pytest.mark.parametrize("options", ["", ", count_include_pad=1, pads=[1,1,0,0]"])
def test_average_pool_counts_the_zeros_it_takes_in(options: str) -> None:
    before = padded(f"AveragePool<kernel_shape=[3,3]{options}>(p)", [0, 0, 1, 1, 0, 0, 0, 2])
    result = FoldPad()(before)
    assert operators(result.model) == ["Neg", "AveragePool"]
    assert_same_outputs(before, result.model)


@pytest.mark.parametrize(("made_by", "fill"), [("Relu", None), ("Relu", 0.0), ("Neg", -np.inf)])
def test_max_pool_takes_zeros_behind_relu_and_minus_infinity_anywhere(made_by: str, fill: float | None) -> None:
    before = padded("MaxPool<kernel_shape=[3,3], strides=[2,2]>(p)", [0, 0, 1, 0, 0, 0, 1, 2], "", fill, made_by)
    result = FoldPad()(before)
    assert operators(result.model) == [made_by, "MaxPool"]
    assert_same_outputs(before, result.model)


def test_pads_given_as_attribute_before_opset_11() -> None:
    before = zoo.model(
        "g (float[1,3,6,6] x) => (float[1,4,6,6] y) { p = Pad<pads=[0,0,1,1,0,0,1,1], value=0.0>(x) y = Conv(p, w) }",
        opset=9,
        w=zoo.normal(4, 3, 3, 3),
    )
    assert operators(FoldPad()(before).model) == ["Conv"]
    assert_same_outputs(before, FoldPad()(before).model)


def test_pads_of_named_axes_from_opset_18() -> None:
    before = zoo.model(
        "g (float[1,3,6,6] x) => (float[1,4,7,7] y) { p = Pad(x, pads, , axes) y = Conv(p, w) }",
        opset=18,
        pads=np.asarray([1, 2, 2, 1], np.int64),
        axes=np.asarray([-1, 2], np.int64),
        w=zoo.normal(4, 3, 3, 3),
    )
    result = FoldPad()(before)
    assert list(next(iter(result.model.graph)).attributes["pads"].as_ints()) == [2, 1, 1, 2]
    assert_same_outputs(before, result.model)


_SIDES = [0, 0, 1, 1, 0, 0, 1, 1]


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (padded("Conv(p, w)", _SIDES, fill=1.5), "it pads with 1.5, and a Conv pads with zeros"),
        (padded("Conv(p, w)", _SIDES, '<mode="reflect">'), "it does not pad with a constant"),
        (padded("Conv(p, w)", [0, 0, -1, 0, 0, 0, 1, 1]), "it crops"),
        (
            padded("AveragePool<kernel_shape=[3,3]>(p)", [0, 1, 0, 0, 0, 0, 0, 0]),
            "it pads the batch or channel axis",
        ),
        (padded('Conv<auto_pad="SAME_UPPER">(p, w)', _SIDES), "the Conv after it computes its own pads (auto_pad)"),
        (
            padded("AveragePool<kernel_shape=[3,3], pads=[1,1,1,1]>(p)", _SIDES),
            "the AveragePool after it leaves its own pads out of the average",
        ),
        (
            padded("AveragePool<kernel_shape=[3,3], ceil_mode=1>(p)", _SIDES),
            "the AveragePool after it rounds its output size up (ceil_mode)",
        ),
        (
            padded("AveragePool<kernel_shape=[3,3]>(p)", [0, 0, 3, 0, 0, 0, 0, 0]),
            "the pads would be as large as the kernel of the AveragePool after it",
        ),
        (
            padded("MaxPool<kernel_shape=[3,3]>(p)", _SIDES),
            "it pads with 0, and a MaxPool pads with minus infinity",
        ),
        (
            padded("MaxPool<kernel_shape=[3,3], dilations=[2,2]>(p)", _SIDES, before="Relu"),
            "the MaxPool after it is dilated, so that a window may hold padding alone",
        ),
        (
            padded("AveragePool<kernel_shape=[3,3]>(p)", [0, 0, 0, 0, 0, 1, 0, 0]),
            "it pads the batch or channel axis",
        ),
        (
            padded("MaxPool<kernel_shape=[3,3]>(p)", _SIDES, before="Tanh", fill=-1),
            "it pads with -1, and a MaxPool pads with minus infinity",
        ),
        (padded("Sigmoid(p)", _SIDES), "it is not read by one Conv, AveragePool or MaxPool alone"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_refusal_says_why(model: ir.Model, reason: str) -> None:
    result = FoldPad()(model)
    assert result.changes == ()
    assert [r.reason for r in result.refusals] == [reason]


def test_positions_of_a_max_pool_would_count_the_padding() -> None:
    model = zoo.model(
        "g (float[1,3,6,6] x) => (float[1,3,6,6] y, int64[1,3,6,6] i) { h = Relu(x) p = Pad(h, pads)"
        " y, i = MaxPool<kernel_shape=[3,3]>(p) }",
        pads=np.asarray(_SIDES, np.int64),
    )
    assert [r.reason for r in FoldPad()(model).refusals] == [
        "the MaxPool after it also gives positions, which count the padding"
    ]


def test_pads_and_fill_that_are_computed_are_refused_by_name() -> None:
    model = zoo.model(
        "g (float[1,3,6,6] x, int64[8] pads, float fill) => (float[A,B,C,D] y) { p = Pad(x, pads) h = Conv(p, w)"
        " q = Pad(h, zeros, fill) y = Conv(q, u) }",
        w=zoo.normal(4, 3, 3, 3),
        u=zoo.normal(4, 4, 3, 3),
        zeros=np.zeros(8, np.int64),
    )
    assert [r.reason for r in FoldPad()(model).refusals] == [
        "pads 'pads' is a graph input",
        "fill value 'fill' is a graph input",
    ]


def test_zeros_above_a_lower_bound_are_refused() -> None:
    model = zoo.model(
        "g (float[1,3,6,6] x) => (float[1,3,6,6] y) { h = Max(x, low) p = Pad(h, pads)"
        " y = MaxPool<kernel_shape=[3,3]>(p) }",
        low=np.float32(-0.5),
        pads=np.asarray(_SIDES, np.int64),
    )
    assert [r.reason for r in FoldPad()(model).refusals] == ["it pads with 0, and a MaxPool pads with minus infinity"]


def test_filter_that_is_padded_stays() -> None:
    model = zoo.model(
        "g (float[1,3,6,6] x, float[4,3,1,1] f) => (float[1,4,4,4] y) { p = Pad(f, pads) y = Conv(x, p) }",
        pads=np.asarray(_SIDES, np.int64),
    )
    assert [r.reason for r in FoldPad()(model).refusals] == ["it is not read by one Conv, AveragePool or MaxPool alone"]


def test_convolution_in_a_body_leaves_the_pad_outside() -> None:
    model = zoo.model(
        "g (float[1,3,6,6] x, bool flag) => (float[A,B,C,D] y) { p = Pad(x, pads) y = If(flag) <then_branch = t () =>"
        " (float[A,B,C,D] a) { a = Conv(p, w) }, else_branch = e () => (float[A,B,C,D] b) { b = Neg(x) }> }",
        pads=np.asarray(_SIDES, np.int64),
        w=zoo.normal(4, 3, 3, 3),
    )
    assert [r.reason for r in FoldPad()(model).refusals] == ["the Conv after it is in another control-flow body"]


def test_attribute_that_fills_with_another_number_is_refused() -> None:
    model = zoo.model(
        "g (float[1,3,6,6] x) => (float[1,4,6,6] y) { p = Pad<pads=[0,0,1,1,0,0,1,1], value=1.5>(x) y = Conv(p, w) }",
        opset=9,
        w=zoo.normal(4, 3, 3, 3),
    )
    assert [r.reason for r in FoldPad()(model).refusals] == ["it pads with 1.5, and a Conv pads with zeros"]


def test_axes_of_an_image_of_unknown_rank_are_refused() -> None:
    model = zoo.model(
        "g (float[1,3,6,6] x, int64[K] shape) => (float[A,B,C,D] y) { r = Reshape(x, shape) p = Pad(r, pads, , axes)"
        " y = Conv(p, w) }",
        opset=18,
        pads=np.asarray([1, 2, 2, 1], np.int64),
        axes=np.asarray([-1, 2], np.int64),
        w=zoo.normal(4, 3, 3, 3),
    )
    assert [r.reason for r in FoldPad()(model).refusals] == ["its axes are not known"]


def test_before_opset_7_no_pool_counts_its_padding() -> None:
    model = zoo.model(
        "g (float[1,3,6,6] x) => (float[1,3,6,6] y) { p = Pad<pads=[0,0,1,1,0,0,1,1]>(x)"
        " y = AveragePool<kernel_shape=[3,3]>(p) }",
        opset=6,
    )
    assert FoldPad()(model).changes == ()


def test_pads_that_a_valid_pool_ignores_are_not_added() -> None:
    before = padded('AveragePool<kernel_shape=[3,3], auto_pad="VALID", pads=[1,1,1,1]>(p)', _SIDES)
    result = FoldPad()(before)
    assert operators(result.model) == ["Neg", "AveragePool"]
    assert_same_outputs(before, result.model)


_SMALL = st.integers(0, 3)


@given(
    op_type=st.sampled_from(["Conv", "AveragePool", "MaxPool"]),
    before=st.sampled_from(["Relu", "Neg"]),
    pads=st.tuples(_SMALL, _SMALL, _SMALL, _SMALL),
    own=st.one_of(st.none(), st.tuples(_SMALL, _SMALL, _SMALL, _SMALL)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    dilations=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    flags=st.tuples(st.booleans(), st.booleans(), st.sampled_from(["NOTSET", "VALID", "SAME_UPPER"])),
    fill=st.sampled_from([0.0, 1.0, float("-inf")]),
    group=st.sampled_from([1, 3]),
)
def test_any_padding_gives_the_same_numbers(
    op_type: str,
    before: str,
    pads: tuple[int, ...],
    own: tuple[int, ...] | None,
    kernel: tuple[int, int],
    strides: tuple[int, int],
    dilations: tuple[int, int],
    flags: tuple[bool, bool, str],
    fill: float,
    group: int,
) -> None:
    ceil_mode, include, auto_pad = flags
    attributes = [f"kernel_shape={list(kernel)}", f"strides={list(strides)}", f'auto_pad="{auto_pad}"']
    if own is not None and auto_pad == "NOTSET":
        attributes.append(f"pads={list(own)}")
    if op_type != "AveragePool":
        attributes.append(f"dilations={list(dilations)}")
    if op_type == "AveragePool":
        attributes.append(f"count_include_pad={int(include)}")
    attributes.append(f"group={group}" if op_type == "Conv" else f"ceil_mode={int(ceil_mode)}")
    weights = {"pads": np.asarray([0, 0, *pads[:2], 0, 0, *pads[2:]], np.int64), "fill": np.float32(fill)}
    if op_type == "Conv":
        weights["w"] = zoo.normal(3, 3 // group, *kernel)
    call = f"{op_type}<{', '.join(attributes)}>({'p, w' if op_type == 'Conv' else 'p'})"
    model = zoo.model(
        f"g (float[1,3,7,5] x) => (float[A,B,C,D] y) {{ h = {before}(x) p = Pad(h, pads, fill) y = {call} }}", **weights
    )
    try:
        expected = outputs(model, feed(model))["y"]
    except ModelRejectedError:
        assume(False)  # a kernel larger than what it slides over, or pads as large as the kernel of a pool
    result = FoldPad()(model)
    got = outputs(result.model, feed(model))["y"]
    # The same products are added in another order where the borders are not stored: eight roundings of 48 terms.
    np.testing.assert_allclose(got, expected, rtol=0, atol=8 * 2.0**-24 * 48)
