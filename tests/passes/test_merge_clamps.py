"""Rows of Relu, Clip, Max and Min become one Relu or Clip."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycompress.passes.merge_clamps import MergeClamps, clamp
from tests import zoo
from tests.passes.running import assert_same_outputs, outputs


def chain(*steps: str, opset: int = 17, dtype: str = "float", **weights: np.ndarray) -> ir.Model:
    """x -> every step in turn -> Neg -> y; {} stands for the value so far."""
    names = ["x", *(f"v{number}" for number in range(len(steps)))]
    body = " ".join(f"{names[i + 1]} = {step.format(names[i])}" for i, step in enumerate(steps))
    text = f"g ({dtype}[2,40] x) => ({dtype}[2,40] y) {{ {body} y = Neg({names[-1]}) }}"
    return zoo.model(text, opset=opset, **weights)


def operators(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


BOUNDS = {"zero": np.float32(0), "six": np.float32(6), "one": np.float32(1), "minus": np.float32(-1)}


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (["Relu({})", "Relu({})"], ["Relu", "Neg"]),
        (["Relu({})", "Clip({}, zero, six)"], ["Clip", "Neg"]),
        (["Relu({})", "Clip({}, , six)"], ["Clip", "Neg"]),
        (["Relu({})", "Clip({}, one)"], ["Clip", "Neg"]),
        (["Clip({}, minus, six)", "Relu({})"], ["Clip", "Neg"]),
        (["Max({}, zero)", "Min(six, {})"], ["Clip", "Neg"]),
        (["Clip({}, zero)"], ["Relu", "Neg"]),
        (["Max(zero, {})"], ["Relu", "Neg"]),
        (["Min({}, six)", "Min({}, one)", "Max({}, minus)"], ["Clip", "Neg"]),
        (["Clip({}, minus, six)"], ["Clip", "Neg"]),
    ],
)
def test_row_of_clamps_becomes_one(steps: list[str], expected: list[str]) -> None:
    used = {name: value for name, value in BOUNDS.items() if any(name in step for step in steps)}
    before = chain(*steps, **used)
    after = MergeClamps()(before).model
    assert operators(after) == expected
    assert_same_outputs(before, after)


_LIMIT = st.one_of(st.none(), st.integers(-4, 4).map(lambda n: n / 2))
_CLIP = st.tuples(_LIMIT, _LIMIT).filter(lambda b: b[0] is None or b[1] is None or b[0] <= b[1])


@given(
    st.lists(
        st.one_of(st.just("Relu"), _CLIP, st.tuples(st.sampled_from(["Max", "Min"]), _LIMIT)), min_size=1, max_size=5
    )
)
def test_any_row_gives_the_same_numbers(row: list[object]) -> None:
    steps, weights = [], {}
    for number, step in enumerate(row):
        if step == "Relu":
            steps.append("Relu({})")
            continue
        kind, bounds = (step[0], (step[1] or 0.0, None)) if step[0] in ("Max", "Min") else ("Clip", step)  # type: ignore[index]
        names = [f"b{number}{side}" if bound is not None else "" for side, bound in enumerate(bounds)]
        weights |= {name: np.float32(bound) for name, bound in zip(names, bounds, strict=True) if name}
        steps.append(f"{kind}({{}}, {', '.join(names).rstrip(', ')})" if any(names) else f"{kind}({{}})")
    before = chain(*steps, **weights)
    after = MergeClamps()(before).model
    feed = {"x": np.linspace(-4, 4, 80, dtype=np.float32).reshape(2, 40)}
    np.testing.assert_array_equal(outputs(before, feed)["y"], outputs(after, feed)["y"])
    clamping = [node for node in after.graph if clamp(node) is not None]
    assert len(clamping) <= 1  # a row of clamps is one clamp


def test_bounds_are_attributes_before_opset_11() -> None:
    before = chain("Clip<min=0.0, max=6.0>({})", "Clip<min=1.0, max=3.4028234663852886e+38>({})", opset=9)
    after = MergeClamps()(before).model
    assert operators(after) == ["Clip", "Neg"]
    clip = clamp(next(iter(after.graph)))
    assert clip is not None
    assert (clip.low, clip.high) == (1, 6)
    assert_same_outputs(before, after)


def test_unbounded_clip_of_an_old_exporter_is_a_relu() -> None:
    before = chain("Clip<min=0.0>({})", opset=9)
    assert operators(MergeClamps()(before).model) == ["Relu", "Neg"]


def test_first_clamp_that_something_else_reads_stays() -> None:
    before = zoo.model(
        "g (float[2,5] x) => (float[2,5] y, float[2,5] a) { a = Relu(x) y = Clip(a, zero, six) }",
        zero=np.float32(0),
        six=np.float32(6),
    )
    assert MergeClamps()(before).changes == ()


def test_clamp_in_the_outer_graph_stays_there() -> None:
    before = zoo.model(
        "g (float[2,5] x, bool flag) => (float[2,5] y) { a = Relu(x) y = If(flag) <then_branch = t () => (float[2,5] b)"
        " { b = Relu(a) }, else_branch = e () => (float[2,5] c) { c = Neg(x) }> }"
    )
    assert MergeClamps()(before).changes == ()


@pytest.mark.parametrize(
    "step",
    ["Clip({}, six, zero)", "Max({}, nan)", "Max({}, many)", "Clip({}, low)", "Max({}, zero, six)", "Max({}, inf)"],
)
def test_bounds_without_a_certain_order_are_left_alone(step: str) -> None:
    weights = {"nan": np.float32(np.nan), "many": zoo.normal(40), "inf": np.float32(math.inf), **BOUNDS}
    used = {name: value for name, value in weights.items() if name in step.replace("({}", "")}
    text = f"g (float[2,40] x, float low) => (float[2,40] y) {{ v = {step.format('x')} y = Relu(v) }}"
    assert MergeClamps()(zoo.model(text, **used)).changes == ()


def test_bounds_that_exclude_each_other_give_the_constant_they_give_in_turn() -> None:
    before = chain("Min({}, minus)", "Max({}, six)", minus=BOUNDS["minus"], six=BOUNDS["six"])
    after = MergeClamps()(before).model
    assert operators(after) == ["Clip", "Neg"]
    assert_same_outputs(before, after)


def test_bounds_of_double_precision_keep_it() -> None:
    before = chain("Relu({})", "Min({}, third)", dtype="double", third=np.float64(1 / 3))
    after = MergeClamps()(before).model
    assert operators(after) == ["Clip", "Neg"]
    assert_same_outputs(before, after)


@pytest.mark.parametrize(
    ("opset", "reason"),
    [(9, "before opset 11 the bounds of a Clip are float32"), (11, "ONNX Runtime has no Clip of doubles in opset 11")],
)
def test_doubles_stay_where_no_clip_takes_them(opset: int, reason: str) -> None:
    before = chain("Relu({})", "Min({}, third)", opset=opset, dtype="double", third=np.float64(1 / 3))
    result = MergeClamps()(before)
    assert [r.reason for r in result.refusals] == [reason]
    assert_same_outputs(before, result.model)


@pytest.mark.parametrize("step", ["Max({}, whole)", "Clip({}, whole)", "Clip({}, whole, large)"])
def test_integers_are_left_alone(step: str) -> None:
    """ONNX Runtime has no Relu of int64."""
    numbers = {"whole": np.int64(0), "large": np.int64(6)}
    before = chain(step, step, dtype="int64", **{name: value for name, value in numbers.items() if name in step})
    result = MergeClamps()(before)
    assert result.changes == ()
    assert_same_outputs(before, result.model)


def test_largest_float32_is_no_bound() -> None:
    before = chain("Clip<min=0.0, max=3.4028234663852886e+38>({})", opset=9)
    assert operators(MergeClamps()(before).model) == ["Relu", "Neg"]


@pytest.mark.parametrize("opset", [9, 10, 11, 12])
def test_bounds_are_written_as_the_opset_wants_them(opset: int) -> None:
    before = chain("Max({}, minus)", "Min({}, six)", opset=opset, minus=BOUNDS["minus"], six=BOUNDS["six"])
    after = MergeClamps()(before).model
    assert operators(after) == ["Clip", "Neg"]
    assert_same_outputs(before, after)
