"""Random nets of everything that moves channels about: half of every group removed, the answer is the masked one's."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import zoo
from tests.pruning.running import halved

# {out} is the new value of {c} channels (of {k} where the step says so), {a} an earlier one, {b} one of as many
# channels; n is the number of the step and stands behind every name it makes.
_SAME = (
    "{out} = Relu({a})",
    "{out} = Sigmoid({a})",
    "{out} = Add({a}, {b})",
    "{out} = Mul({a}, {b})",
    "{out} = Mul({a}, s{n})",
    "{out} = PRelu({a}, s{n})",
    "{out} = BatchNormalization({a}, g{n}, h{n}, m{n}, v{n})",
    "{out} = Conv<group={c}, pads=[1,1,1,1]>({a}, d{n}, h{n})",
    "{out} = Conv<group=2>({a}, e{n}, h{n})",
    "{out} = InstanceNormalization({a}, g{n}, h{n})",
    "t{n} = Transpose<perm=[0,2,3,1]>({a}) l{n} = LayerNormalization(t{n}, g{n}, h{n})"
    " {out} = Transpose<perm=[0,3,1,2]>(l{n})",
    "t{n} = Transpose<perm=[0,2,3,1]>({a}) l{n} = MatMul(t{n}, q{n}) {out} = Transpose<perm=[0,3,1,2]>(l{n})",
    "t{n} = ReduceMean<axes=[2,3]>({a}) u{n} = Conv(t{n}, p{n}) r{n} = Sigmoid(u{n}) {out} = Mul({a}, r{n})",
    "t{n} = ReduceMean<axes=[1]>({a}) r{n} = Sub({a}, t{n}) {out} = Tanh(r{n})",
    "t{n} = Reshape({a}, two{c}) u{n} = Transpose<perm=[0,2,1,3,4]>(t{n}) {out} = Reshape(u{n}, whole{c})",
    "t{n} = Reshape({a}, two{c}) u{n} = ReduceSum(t{n}, second) r{n} = Mul(t{n}, u{n}) {out} = Reshape(r{n}, whole{c})",
    "t{n} = Reshape({a}, three{c}) r{n} = InstanceNormalization(t{n}, pair{n}, zeros{n})"
    " {out} = Reshape(r{n}, whole{c})",
    "t{n}, u{n} = Split<axis=1>({a}) {out} = Concat<axis=1>(u{n}, t{n})",
    "t{n} = Gather<axis=1>({a}, back{c}) {out} = Add(t{n}, {a})",
    "t{n} = Slice({a}, one, end, one) {out} = Pad(t{n}, front)",
    "t{n} = Softmax<axis=1>({a}) {out} = Add(t{n}, {a})",
    "t{n} = Reshape({a}, flat{c}) u{n} = Transpose<perm=[0,2,1]>(t{n}) r{n} = MatMul(t{n}, u{n})"
    " k{n} = MatMul(r{n}, t{n}) {out} = Reshape(k{n}, whole{c})",
)
_OTHER = (
    "{out} = Conv<pads=[1,1,1,1]>({a}, w{n}, i{n})",
    "{out} = ConvTranspose({a}, y{n})",
    "{out} = Concat<axis=1>({a}, {b})",
)
_PLANS = st.lists(
    st.tuples(st.booleans(), st.integers(0, 63), st.integers(0, 9), st.integers(0, 9), st.sampled_from([4, 8])),
    min_size=2,
    max_size=8,
)


def build(plan: list[tuple[bool, int, int, int, int]]) -> ir.Model:
    """The graph of a plan: a stem of four channels, the steps, a pool and a linear layer."""
    body, made = ["o = Conv(x, stem)"], [("o", 4)]
    weights: dict[str, np.ndarray] = {"stem": zoo.normal(4, 3, 1, 1)}
    for n, (widens, which, first, second, wanted) in enumerate(plan):
        a, c = made[-1 - first % len(made)]
        alike = [name for name, channels in made if channels == c]
        b = alike[second % len(alike)]
        step = _OTHER[which % len(_OTHER)] if widens and c <= 8 else _SAME[which % len(_SAME)]
        k = c if step in _SAME else 2 * c if "Concat" in step else wanted
        text = step.format(out=f"o{n}", a=a, b=b, c=c, n=n)
        body.append(text)
        made.append((f"o{n}", k))
        weights |= {name: data for name, data in _weights(n, c, k).items() if _reads(text, name)}
    last, channels = made[-1]
    body.append("z = GlobalAveragePool(" + last + ") f = Flatten(z) y = Gemm(f, head)")
    weights |= {"head": zoo.normal(channels, 3)}
    text = f"g (float[N,3,4,4] x) => (float[N,3] y) {{ {' '.join(body)} }}"
    weights |= {name: data for name, data in _integers().items() if _reads(text, name)}
    return zoo.model(text, opset=17, **weights)


def _reads(text: str, name: str) -> bool:
    return name in text.replace(",", " ").replace("(", " ").replace(")", " ").split()


def _weights(n: int, c: int, k: int) -> dict[str, np.ndarray]:
    made = {
        "s": zoo.positive(c, 1, 1, seed=n),
        "g": zoo.positive(c, seed=n),
        "h": zoo.normal(c, seed=n),
        "m": zoo.normal(c, seed=n + 50),
        "v": zoo.positive(c, seed=n + 50),
        "d": zoo.normal(c, 1, 3, 3, seed=n) / 3,
        "e": zoo.normal(c, c // 2, 1, 1, seed=n) / 2,
        "q": zoo.normal(c, c, seed=n) / 3,
        "p": zoo.normal(c, c, 1, 1, seed=n) / 3,
        "w": zoo.normal(k, c, 3, 3, seed=n) / 6,
        "i": zoo.normal(k, seed=n),
        "y": zoo.normal(c, k, 1, 1, seed=n) / 2,
        "pair": zoo.positive(2, seed=n),
        "zeros": np.zeros(2, np.float32),
    }
    return {f"{name}{n}": data for name, data in made.items()}


def _integers() -> dict[str, np.ndarray]:
    made: dict[str, list[int]] = {"one": [1], "end": [99], "second": [2], "front": [0, 1, 0, 0, 0, 0, 0, 0]}
    for c in (4, 8, 16):
        made |= {f"two{c}": [0, 2, c // 2, 4, 4], f"whole{c}": [0, c, 4, 4], f"three{c}": [0, 2, -1]}
        made |= {f"flat{c}": [0, c, 16], f"back{c}": list(range(c))[::-1]}
    return {name: np.asarray(value, np.int64) for name, value in made.items()}


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(_PLANS, st.integers(0, 3))
def test_a_random_net_is_cut_exactly(plan: list[tuple[bool, int, int, int, int]], seed: int) -> None:
    halved(build(plan), seed=seed)
