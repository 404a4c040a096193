"""Every GELU becomes the operator, or the form ONNX Runtime fuses; look-alikes stay."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from deploycompress.passes.gelu_form import RewriteGelu
from deploycompress.runtime.session import Session, SessionConfig
from tests import zoo
from tests.passes.running import assert_same_outputs, proto

_NUMBERS = {
    "root": np.float32(2**0.5),
    "inverse": np.float32(0.5**0.5),
    "one": np.float32(1),
    "half": np.float32(0.5),
    "two": np.float32(2),
    "three": np.float32(3),
    "cubic": np.float32(0.044715),
    "odd": np.float32(2.5),
    "near": np.float32(1.4142),
    "zero": np.float32(0),
    "slope": np.float32((2 / np.pi) ** 0.5),
}
_ERF = "d = Div(x, root) e = Erf(d) g = Add(e, one)"
_TANH = "t = Tanh(v) g = Add(one, t)"
_GATES = {
    "erf, divided": _ERF,
    "erf, multiplied": "d = Mul(inverse, x) e = Erf(d) g = Add(one, e)",
    "tanh, power": f"p = Pow(x, three) q = Mul(p, cubic) s = Add(x, q) v = Mul(s, slope) {_TANH}",
    "tanh, cube": f"o = Mul(x, x) p = Mul(x, o) q = Mul(cubic, p) s = Add(x, q) v = Mul(slope, s) {_TANH}",
    "tanh, from the left": f"n = Mul(cubic, x) o = Mul(x, n) q = Mul(x, o) s = Add(q, x) v = Mul(s, slope) {_TANH}",
    "tanh, factored": f"o = Mul(x, x) p = Mul(o, cubic) q = Add(one, p) s = Mul(q, slope) v = Mul(x, s) {_TANH}",
}
_LAST = {
    "x * (gate / 2)": "h = Mul(half, g) m = Mul(x, h)",
    "x * (gate : 2)": "h = Div(g, two) m = Mul(h, x)",
    "(x * gate) / 2": "h = Mul(g, x) m = Mul(h, half)",
    "(x / 2) * gate": "h = Mul(x, half) m = Mul(h, g)",
}


def built(gate: str, last: str, opset: int = 17) -> ir.Model:
    text = f"{gate} {last}"
    words = set(text.replace("(", " ").replace(")", " ").replace(",", " ").split())
    used = {name: value for name, value in _NUMBERS.items() if name in words}
    return zoo.model(
        f"g (float[2,3,40] i) => (float[2,3,40] y) {{ x = Neg(i) {text} y = Neg(m) }}", opset=opset, **used
    )


def executed(model: ir.Model, folder: Path) -> Counter[str]:
    """The operators that ONNX Runtime runs."""
    path = folder / "optimized.onnx"
    Session(proto(model), SessionConfig(threads=1), optimized_path=path)
    return Counter(node.op_type for node in onnx.load(path).graph.node)


@pytest.mark.parametrize("gate", _GATES)
@pytest.mark.parametrize("last", _LAST)
def test_onnxruntime_runs_one_kernel_for_every_form(gate: str, last: str, tmp_path: Path) -> None:
    before = built(_GATES[gate], _LAST[last])
    after = RewriteGelu()(before).model
    assert executed(after, tmp_path) == {"Neg": 2, "Gelu" if gate.startswith("erf") else "FastGelu": 1}
    assert_same_outputs(before, after)


@pytest.mark.parametrize("gate", _GATES)
@pytest.mark.parametrize("last", _LAST)
def test_from_opset_20_every_form_is_the_operator(gate: str, last: str) -> None:
    before = built(_GATES[gate], _LAST[last], opset=20)
    after = RewriteGelu()(before).model
    assert [node.op_type for node in after.graph] == ["Neg", "Gelu", "Neg"]
    assert [node.outputs[0].name for node in after.graph] == ["x", "m", "y"]  # as a report of the original says
    assert not after.graph.initializers
    assert_same_outputs(before, after)


@pytest.mark.parametrize("gate", _GATES)
def test_new_values_have_names_that_no_other_value_has(gate: str) -> None:
    names = [f"m_{part}" for part in ("halved", "scaled", "cube", "cubed", "sum", "erf", "tanh", "gate", "gelu")]
    words = set(_GATES[gate].replace("(", " ").replace(")", " ").replace(",", " ").split()) | {"half"}
    taken = " ".join(f"{name} = Neg(i)" for name in names)
    before = zoo.model(
        f"g (float[40] i) => (float[40] y) {{ x = Neg(i) {taken} {_GATES[gate]} h = Mul(half, g) m = Mul(x, h)"
        f" y = Sum(m, {', '.join(names)}) }}",
        **{name: value for name, value in _NUMBERS.items() if name in words},
    )
    result = RewriteGelu()(before)
    assert len(result.changes) == 1
    assert_same_outputs(before, result.model)


def test_form_that_is_fused_already_is_left_alone() -> None:
    for gate in ("erf, divided", "tanh, power"):
        assert RewriteGelu()(built(_GATES[gate], _LAST["(x / 2) * gate"])).changes == ()


@pytest.mark.parametrize(
    ("gate", "last"),
    [
        (_ERF.replace("root", "two"), _LAST["x * (gate / 2)"]),  # another slope
        (_ERF, "h = Mul(g, two) m = Mul(x, h)"),  # twice, not half
        (_ERF.replace("one", "two"), _LAST["x * (gate / 2)"]),  # 2 + erf
        (_ERF.replace("Erf", "Tanh"), _LAST["x * (gate / 2)"]),  # a tanh without the cubic term
        (_ERF, "h = Mul(half, g) k = Exp(x) m = Mul(k, h)"),  # gates another value
        (_GATES["tanh, cube"].replace("cubic", "half"), _LAST["x * (gate / 2)"]),
        (_GATES["tanh, factored"].replace("Mul(x, x)", "Pow(x, odd)"), _LAST["x * (gate / 2)"]),
        (_ERF.replace("root", "near"), _LAST["x * (gate / 2)"]),  # sqrt 2 to five digits
        (_ERF, "h = Div(g, zero) m = Mul(x, h)"),
        (_GATES["tanh, cube"].replace("slope", "two"), _LAST["x * (gate / 2)"]),
        (_GATES["tanh, factored"].replace("Add(one, p)", "Add(two, p)"), _LAST["x * (gate / 2)"]),
        (f"k = Exp(x) {_GATES['tanh, cube']}".replace("Add(x, q)", "Add(q, k)"), _LAST["x * (gate / 2)"]),
        (f"k = Exp(x) {_GATES['tanh, power']}".replace("Pow(x,", "Pow(k,"), _LAST["x * (gate / 2)"]),
        (_GATES["tanh, cube"], "h = Mul(half, g) n = Mul(x, h) m = Add(n, s)"),  # the cubic is read twice
    ],
)
def test_look_alikes_are_left_alone(gate: str, last: str) -> None:
    assert RewriteGelu()(built(gate, last, opset=20)).changes == ()


def test_gate_that_something_else_reads_is_left_alone() -> None:
    before = zoo.model(
        f"g (float[4] x) => (float[4] y, float[4] g) {{ {_ERF} h = Mul(half, g) y = Mul(x, h) }}",
        opset=20,
        **{name: _NUMBERS[name] for name in ("root", "one", "half")},
    )
    assert RewriteGelu()(before).changes == ()


def test_curve_that_something_else_reads_is_left_alone() -> None:
    before = zoo.model(
        f"g (float[4] x) => (float[4] y) {{ {_ERF} h = Mul(half, g) m = Mul(x, h) y = Add(m, e) }}",
        opset=20,
        **{name: _NUMBERS[name] for name in ("root", "one", "half")},
    )
    assert RewriteGelu()(before).changes == ()


def test_double_precision_is_left_alone() -> None:
    before = zoo.model(
        f"g (double[4] x) => (double[4] y) {{ {_ERF} h = Mul(half, g) m = Mul(x, h) y = Neg(m) }}",
        opset=20,
        **{name: np.float64(_NUMBERS[name]) for name in ("root", "one", "half")},
    )
    assert RewriteGelu()(before).changes == ()


def test_opset_19_has_no_operator() -> None:
    before = built(_ERF, _LAST["x * (gate / 2)"], opset=19)
    after = RewriteGelu()(before).model
    assert [node.op_type for node in after.graph] == ["Neg", "Div", "Erf", "Add", "Mul", "Mul", "Neg"]
    assert_same_outputs(before, after)


def test_graph_output_is_refused_where_no_operator_can_say_it() -> None:
    before = zoo.model(
        f"g (float[4] x) => (float[4] y) {{ {_ERF} h = Mul(half, g) y = Mul(x, h) }}",
        **{name: _NUMBERS[name] for name in ("root", "one", "half")},
    )
    result = RewriteGelu()(before)
    assert [str(r) for r in result.refusals] == ["y: ONNX Runtime does not fuse a GELU that is a graph output"]


def test_gelu_in_a_body_reads_the_outer_value() -> None:
    before = zoo.model(
        f"g (float[4] x, bool flag) => (float[4] y) {{ y = If(flag) <then_branch = t () => (float[4] a) {{ {_ERF}"
        " h = Mul(half, g) a = Mul(x, h) }, else_branch = e () => (float[4] b) { b = Neg(x) }> }",
        opset=20,
        **{name: _NUMBERS[name] for name in ("root", "one", "half")},
    )
    after = RewriteGelu()(before).model
    body = next(iter(after.graph)).attributes["then_branch"].as_graph()
    assert [node.op_type for node in body] == ["Gelu"]
    for seed in range(3):
        assert_same_outputs(before, after, seed=seed)
