"""Random graphs of convolutions, normalizations, casts, views, shape arithmetic, branches and loops keep their outputs.

The oracles are ONNX Runtime without any of its own rewrites on the original graph, and the reference implementation of
onnx, which shares no code with it, on the rewritten one.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnx.reference
import onnx_ir as ir
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from deploycompress.errors import ModelRejectedError
from deploycompress.passes import pipelines
from tests import zoo
from tests.passes.running import assert_same_outputs, checks, feed, outputs, proto

# Every value of these graphs has this shape, so that any step fits after any other.
_SHAPE = "float[N,4,6,6]"

# One step: ONNX text with {out} the new value, {a} and {b} earlier ones, {n} a number of its own; weights are added by
# the letter before {n} (w: 3x3 kernel, d: depthwise kernel, p: 1x1 kernel of 8 channels, s: per channel ...).
_STEPS = (
    "{out} = Conv<pads=[1,1,1,1]>({a}, w{n})",
    "{out} = Conv<pads=[1,1,1,1], group=4>({a}, d{n}, c{n})",
    "{out} = ConvTranspose<pads=[1,1,1,1]>({a}, w{n})",
    "{out} = BatchNormalization({a}, g{n}, c{n}, m{n}, v{n})",
    "{out} = Relu({a})",
    "{out} = Identity({a})",
    "{out} = Cast<to=1>({a})",
    "{out} = Mul({a}, s{n})",
    "{out} = Sub(s{n}, {a})",
    "{out} = Add({a}, {b})",
    "t{n} = Neg(s{n}) {out} = Add({a}, t{n})",
    "t{n} = Pad({a}, pads) {out} = Conv(t{n}, w{n})",
    "t{n} = Concat<axis=1>({a}, {b}) {out} = Conv(t{n}, p{n})",
    "t{n} = Cast<to=11>({a}) {out} = Cast<to=1>(t{n})",
    # Of the graph input: a value that a fold may round differently could fall on the other side of a step.
    "t{n} = Cast<to=10>(x) r{n} = Cast<to=1>(t{n}) {out} = Add({a}, r{n})",
    "t{n} = Cast<to=6>(x) r{n} = Cast<to=7>(t{n}) k{n} = Cast<to=1>(r{n}) {out} = Mul({a}, k{n})",
    "t{n} = Identity({a}) r{n} = Dropout(t{n}) {out} = Sigmoid(r{n})",
    "t{n} = Unsqueeze({a}, two) r{n} = Tanh(t{n}) q{n} = Transpose<perm=[0,2,1,3,4]>(r{n}) {out} = Squeeze(q{n}, one)",
    "t{n} = Flatten({a}) r{n} = Reshape(t{n}, cube) {out} = Reshape(r{n}, full)",
    "t{n} = Slice({a}, zero, two, one) r{n} = Slice({a}, two, end, one) {out} = Concat<axis=1>(t{n}, r{n})",
    "q{n} = Shape({a}) t{n} = Gather(q{n}, zero) r{n} = Concat<axis=0>(t{n}, rest) k{n} = Reshape({a}, r{n})"
    " {out} = Reshape(k{n}, q{n})",
    "q{n} = Shape({a}) t{n} = Gather(q{n}, zero) r{n} = Concat<axis=0>(t{n}, inner) {out} = Expand({a}, r{n})",
    "q{n} = Shape({a}) t{n} = Equal(q{n}, minus) k{n} = Where(t{n}, ones, q{n}) {out} = Expand({a}, k{n})",
    "q{n} = Shape({a}) t{n} = Slice(q{n}, one, end) r{n} = ConstantOfShape(t{n}) {out} = Add({a}, r{n})",
    "q{n} = Size({a}) t{n} = Cast<to=1>(q{n}) r{n} = Div({a}, t{n}) {out} = Mul(r{n}, t{n})",
    "t{n} = Pad({a}, nopads) {out} = Tile(t{n}, ones)",
    "{out} = Mul({a}, s{n}) u{n} = Exp({b})",
    "{out} = Loop(trips, go, {a}) <body = l{n} (int64 i{n}, bool c{n}, " + _SHAPE + " h{n}) =>"
    " (bool e{n}, " + _SHAPE + " z{n}) { e{n} = Identity(c{n}) k{n} = Reshape({b}, flat) y{n} = Reshape(k{n}, full)"
    " q{n} = Identity(y{n}) z{n} = Add(h{n}, q{n}) }>",
    "q{n} = Neg({b}) y{n}, {out} = Scan(s{n}, {a}) <num_scan_inputs = 1, body = l{n} (float[4,1,1] h{n},"
    " float[4,6,6] i{n}) => (float[4,1,1] z{n}, float[4,6,6] e{n}) { z{n} = Identity(h{n}) k{n} = Mul(i{n}, z{n})"
    " r{n} = Cast<to=1>(k{n}) e{n} = Relu(r{n}) }>",
    "{out} = If(always) <then_branch = y{n} () => (" + _SHAPE + " z{n}) { h{n} = Reshape({a}, flat)"
    " z{n} = Reshape(h{n}, full) }, else_branch = x{n} () => (" + _SHAPE + " e{n}) { e{n} = Neg({b}) }>",
    "t{n} = Transpose<perm=[0,2,3,1]>({a}) {out} = Transpose<perm=[0,3,1,2]>(t{n})",
    "q{n} = Shape({a}) t{n} = Reshape({a}, flat) {out} = Reshape(t{n}, q{n})",
    "t{n} = Reshape({a}, flat) {out} = Reshape(t{n}, full)",
    "{out} = If(flag) <then_branch = y{n} () => (" + _SHAPE + " z{n}) { h{n} = Conv<pads=[1,1,1,1]>({a}, w{n})"
    " z{n} = BatchNormalization(h{n}, g{n}, c{n}, m{n}, v{n}) }, else_branch = x{n} () => (" + _SHAPE + " e{n}) {"
    " k{n} = Neg(s{n}) i{n} = Identity({b}) e{n} = Mul(i{n}, k{n}) }>",
)
_WEIGHTS = {
    "w": lambda n: zoo.normal(4, 4, 3, 3, seed=n) / 6,  # 36 terms a sum: keeps the size of the values
    "d": lambda n: zoo.normal(4, 1, 3, 3, seed=n) / 3,
    "p": lambda n: zoo.normal(4, 8, 1, 1, seed=n) / 3,
    "s": lambda n: zoo.positive(4, 1, 1, seed=n // 2),  # every second one is a copy of the one before
    "c": lambda n: zoo.normal(4, seed=n),
    "g": lambda n: zoo.positive(4, seed=n),
    "m": lambda n: zoo.normal(4, seed=n + 100),
    "v": lambda n: zoo.positive(4, seed=n + 200),
}
# (step, first earlier value, second earlier value, weights of an earlier step or of its own)
_PLANS = st.lists(
    st.tuples(st.sampled_from(_STEPS), st.integers(0, 9), st.integers(0, 9), st.integers(0, 3)), min_size=1, max_size=9
)


def build(plan: list[tuple[str, int, int, int]], *, second_output: bool) -> ir.Model:
    """The graph of a plan; step `i` may read any earlier value and share the weights of an earlier step."""
    made = ["x"]
    body = []
    weights = {
        "pads": np.asarray([0, 0, 1, 1, 0, 0, 1, 1], np.int64),
        "flat": np.asarray([0, -1], np.int64),
        "full": np.asarray([-1, 4, 6, 6], np.int64),
        "cube": np.asarray([0, 2, 72], np.int64),
        "rest": np.asarray([144], np.int64),
        "inner": np.asarray([4, 6, 6], np.int64),
        "minus": np.asarray([-1], np.int64),
        "ones": np.ones(4, np.int64),
        "nopads": np.zeros(8, np.int64),
        "end": np.asarray([2**40], np.int64),
        **{name: np.asarray([value], np.int64) for name, value in (("zero", 0), ("one", 1), ("two", 2))},
        "trips": np.int64(2),
        "go": np.bool_(True),
        "always": np.bool_(True),
    }
    for index, (step, first, second, shared) in enumerate(plan):
        text = step.format_map(
            _Names(out=f"o{index}", a=made[-1 - first % len(made)], b=made[-1 - second % len(made)], n=str(index))
        )
        for letter, make in _WEIGHTS.items():
            own = f"{letter}{index}"
            if own in text.replace("(", " ").replace(")", " ").replace(",", " ").split():
                owner = shared if shared < index and f"{letter}{shared}" in weights else index
                text = text.replace(f" {own}", f" {letter}{owner}").replace(f"({own}", f"({letter}{owner}")
                weights[f"{letter}{owner}"] = make(owner)
        body.append(text)
        made.append(f"o{index}")
    results = f"{_SHAPE} last" + (f", {_SHAPE} {made[len(made) // 2]}" if second_output and len(made) > 2 else "")
    text = f"g ({_SHAPE} x, bool flag) => ({results}) {{ {' '.join(body)} last = Abs({made[-1]}) }}"
    return zoo.model(text, **weights)


class _Names(dict[str, str]):
    """Leaves the braces of ONNX bodies alone."""

    def __missing__(self, key: str) -> str:
        return "{" + key + "}"


def pattern(step: str) -> str:
    """The step with its ONNX braces doubled for `format_map`, its fields left single."""
    text = step.replace("{", "{{").replace("}", "}}")
    for name in ("out", "a", "b", "n"):
        text = text.replace("{{" + name + "}}", "{" + name + "}")
    return text


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(plan=_PLANS, second_output=st.booleans(), seed=st.integers(0, 3))
def test_every_pass_keeps_the_outputs_of_a_random_graph(
    plan: list[tuple[str, int, int, int]], second_output: bool, seed: int
) -> None:
    original = build([(pattern(step), *rest) for step, *rest in plan], second_output=second_output)
    assert checks(original) is None
    model, untouched = original, proto(original)
    try:
        for batch in (1, 2, 3):
            outputs(original, feed(original, batch, seed))
    except ModelRejectedError:
        reject()  # ONNX Runtime itself loses a value that a branch reads where the condition of an If is constant
    for step in pipelines.EVERY_PASS:
        result = step(model)
        assert step(result.model).changes == ()
        model = result.model
    for batch in (1, 3):
        assert_same_outputs(original, model, free=batch, seed=seed)
    assert checks(model) is None
    _assert_reference_agrees(original, model, seed)
    assert proto(original) == untouched


def _assert_reference_agrees(original: ir.Model, model: ir.Model, seed: int) -> None:
    """The sums of a convolution have 36 terms in another order, nine layers at most: 9 * 36 roundings of 2^-24."""
    feeds = feed(original, 2, seed)
    with np.errstate(all="ignore"):
        got = onnx.reference.ReferenceEvaluator(ir.to_proto(model)).run(None, feeds)
    for value, reference in zip(outputs(original, feeds).values(), got, strict=True):
        largest = np.abs(value).max(initial=0.0, where=np.isfinite(value))
        np.testing.assert_allclose(reference, value, rtol=0, atol=9 * 36 * 2**-24 * largest)
