"""HardSigmoid and HardSwish are found however they are spelt out, and nothing else is taken for them."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from deploycompress.passes.hard_activations import RecogniseHardActivations
from tests import zoo
from tests.passes.running import assert_same_outputs

NUMBERS = {
    "zero": np.float32(0),
    "three": np.float32(3),
    "six": np.float32(6),
    "sixth": np.float32(1 / 6),
    "five": np.float32(5),
}


def built(expression: str, opset: int = 17) -> ir.Model:
    """x -> r = clip(x + 3, 0, 6) -> the expression -> y."""
    text = f"a = Add(x, three) r = Clip(a, zero, six) {expression}"
    used = {name: value for name, value in NUMBERS.items() if name in text}
    return zoo.model(f"g (float[2,40] x) => (float[2,40] y) {{ {text} }}", opset=opset, **used)


def operators(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


@pytest.mark.parametrize(
    "expression",
    [
        "m = Mul(x, r) y = Div(m, six)",
        "m = Mul(r, x) y = Mul(sixth, m)",
        "m = Div(r, six) y = Mul(x, m)",
        "m = Mul(sixth, r) y = Mul(m, x)",
        "m = Mul(x, sixth) y = Mul(r, m)",
    ],
)
def test_hard_swish_in_any_order_is_one_operator(expression: str) -> None:
    before = built(expression)
    result = RecogniseHardActivations()(before)
    assert operators(result.model) == ["HardSwish"]
    assert not result.model.graph.initializers
    assert_same_outputs(before, result.model)


@pytest.mark.parametrize("expression", ["y = Div(r, six)", "y = Mul(sixth, r)"])
def test_hard_sigmoid_is_one_operator(expression: str) -> None:
    before = built(expression)
    result = RecogniseHardActivations()(before)
    assert operators(result.model) == ["HardSigmoid"]
    assert_same_outputs(before, result.model)


def test_opset_14_has_hard_swish() -> None:
    before = built("m = Div(r, six) y = Mul(x, m)", opset=14)
    result = RecogniseHardActivations()(before)
    assert operators(result.model) == ["HardSwish"]
    assert_same_outputs(before, result.model)


def test_before_opset_14_hard_swish_stays_a_product() -> None:
    before = built("m = Div(r, six) y = Mul(x, m)", opset=13)
    result = RecogniseHardActivations()(before)
    assert operators(result.model) == ["HardSigmoid", "Mul"]
    assert_same_outputs(before, result.model)


def test_hard_sigmoid_operator_times_its_input_is_hard_swish() -> None:
    before = zoo.model(
        "g (float[2,40] x) => (float[2,40] y) { h = HardSigmoid<alpha=0.1666666716337204, beta=0.5>(x) y = Mul(h, x) }"
    )
    result = RecogniseHardActivations()(before)
    assert operators(result.model) == ["HardSwish"]
    assert_same_outputs(before, result.model)


@pytest.mark.parametrize(
    "expression",
    [
        "m = Mul(x, r) y = Div(m, five)",  # another slope
        "y = Div(r, five)",
        "m = Div(r, six) n = Neg(x) y = Mul(n, r)",  # the clip is read twice
        "m = Div(six, r) y = Mul(x, m)",  # divides by it
    ],
)
def test_other_products_are_left_alone(expression: str) -> None:
    assert RecogniseHardActivations()(built(expression)).changes == ()


def test_gate_of_another_value_is_a_hard_sigmoid_and_stays_a_gate() -> None:
    before = zoo.model(
        "g (float[2,40] x, float[2,40] z) => (float[2,40] y) { a = Add(x, three) r = Clip(a, zero, six)"
        " m = Mul(z, r) y = Div(m, six) }",
        zero=NUMBERS["zero"],
        three=NUMBERS["three"],
        six=NUMBERS["six"],
    )
    assert RecogniseHardActivations()(before).changes == ()


@pytest.mark.parametrize(("shift", "high"), [("three", "five"), ("five", "six")])
def test_clip_elsewhere_is_left_alone(shift: str, high: str) -> None:
    names = {"zero", "six", shift, high}
    before = zoo.model(
        f"g (float[2,40] x) => (float[2,40] y) {{ a = Add(x, {shift}) r = Clip(a, zero, {high}) m = Div(r, six)"
        " y = Mul(x, m) }",
        **{name: NUMBERS[name] for name in names},
    )
    assert RecogniseHardActivations()(before).changes == ()


@pytest.mark.parametrize(
    "expression",
    [
        "h = HardSigmoid<alpha=0.1666666716337204>(x) m = Mul(h, five) y = Mul(m, x)",  # five times it
        "h = HardSigmoid<alpha=0.1666666716337204, beta=0.4>(x) y = Mul(h, x)",  # another point
        "h = HardSigmoid<alpha=0.1666666716337204>(x) m = Mul(h, x) y = Add(m, h)",  # the gate is read twice
    ],
)
def test_hard_sigmoid_that_is_not_only_a_gate_is_left_alone(expression: str) -> None:
    used = {"five": NUMBERS["five"]} if "five" in expression else {}
    before = zoo.model(f"g (float[2,40] x) => (float[2,40] y) {{ {expression} }}", **used)
    assert RecogniseHardActivations()(before).changes == ()


def test_other_slope_of_hard_sigmoid_is_not_hard_swish() -> None:
    before = zoo.model("g (float[2,40] x) => (float[2,40] y) { h = HardSigmoid(x) y = Mul(h, x) }")
    assert RecogniseHardActivations()(before).changes == ()


def test_constant_of_higher_rank_is_left_alone() -> None:
    before = zoo.model(
        "g (float[40] x) => (float[1,40] y) { a = Add(x, three) r = Clip(a, zero, six) m = Mul(x, r) y = Div(m, by) }",
        zero=NUMBERS["zero"],
        three=NUMBERS["three"],
        six=NUMBERS["six"],
        by=np.full((1, 1), 6, np.float32),
    )
    assert RecogniseHardActivations()(before).changes == ()


@pytest.mark.parametrize(
    "expression",
    ["m = Mul(x, r) n = Div(m, six) y = Add(n, m)", "m = Mul(x, sixth) n = Mul(r, m) y = Add(n, m)"],
)
def test_product_that_something_else_reads_is_left_alone(expression: str) -> None:
    assert RecogniseHardActivations()(built(expression)).changes == ()


def test_clip_outside_the_body_that_reads_it_is_left_alone() -> None:
    before = zoo.model(
        "g (float[2,40] x, bool flag) => (float[2,40] y) { a = Add(x, three) r = Clip(a, zero, six) y = If(flag)"
        " <then_branch = t () => (float[2,40] o) { m = Mul(x, r) o = Div(m, six) },"
        " else_branch = e () => (float[2,40] q) { q = Neg(x) }> }",
        **{name: NUMBERS[name] for name in ("three", "zero", "six")},
    )
    assert RecogniseHardActivations()(before).changes == ()
