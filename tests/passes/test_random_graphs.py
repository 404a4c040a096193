"""Random graphs of convolutions, normalizations, constants, reshapes and branches keep their outputs."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploycompress.passes import pipelines
from tests import zoo
from tests.passes.running import assert_same_outputs, checks, proto

# Every value of these graphs has this shape, so that any step fits after any other.
_SHAPE = "float[1,4,6,6]"

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
    "s": lambda n: zoo.positive(4, 1, 1, seed=n),
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
        "full": np.asarray([1, 4, 6, 6], np.int64),
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
    for step in pipelines.EVERY_PASS:
        result = step(model)
        assert step(result.model).changes == ()
        model = result.model
    assert_same_outputs(original, model, seed=seed)
    assert checks(model) is None
    assert proto(original) == untouched
