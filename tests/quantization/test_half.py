"""Half precision: weights rounded exactly, float32 at both ends, nothing overflows, few casts."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import onnx.reference
import onnx_ir as ir
import pytest

from deploycompress import model as models
from deploycompress import targets
from deploycompress.calibration import collect
from deploycompress.calibration.statistics import TensorStatistics
from deploycompress.errors import UnsupportedError
from deploycompress.passes import shapes
from deploycompress.quantization.half import computes, fits, plan_half
from deploycompress.quantization.half_emit import emit_half
from deploycompress.quantization.half_types import halves
from deploycompress.runtime.session import SessionConfig
from tests.passes.running import feed, outputs
from tests.quantization.nets import residual_net
from tests.zoo import MODELS, model, normal

STORES = targets.load("server-cpu")
COMPUTES = targets.load("server-cuda")
FP16, BF16 = ir.DataType.FLOAT16, ir.DataType.BFLOAT16


def halved(net: ir.Model, target: targets.Target = COMPUTES, half: ir.DataType = FP16, **plan: object) -> ir.Model:
    """`net` in half, as `target` wants it."""
    return emit_half(net, plan_half(net, target, half, **plan), half, compute=computes(target))  # type: ignore[arg-type]


def refusals(net: ir.Model, **plan: object) -> dict[str, str]:
    """Reasons of what stays float32 on a target that computes in half."""
    nodes = plan_half(net, COMPUTES, FP16, **plan).nodes.values()  # type: ignore[arg-type]
    return {planned.node: planned.reason for planned in nodes if planned.form == "float"}


def operators(net: ir.Model) -> Counter[str]:
    return Counter(node.op_type for node in net.graph)


def in_true_half(net: ir.Model, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Outputs of onnx's reference implementation: ONNX Runtime's CPU provider computes float16 graphs in float32."""
    evaluator = onnx.reference.ReferenceEvaluator(ir.to_proto(net))
    with np.errstate(over="ignore", invalid="ignore"):
        return dict(zip([str(v.name) for v in net.graph.outputs], evaluator.run(None, given), strict=True))


def ranges(net: ir.Model, feeds: list[dict[str, np.ndarray]]) -> dict[str, TensorStatistics]:
    """Of every float32 tensor of the main graph."""
    names = [str(v.name) for v, dtype in shapes.infer(net).dtypes.items() if dtype == ir.DataType.FLOAT]
    found = set(net.graph.initializers)
    return dict(collect(net, [n for n in names if n not in found], feeds, config=SessionConfig(threads=1)))


@pytest.mark.parametrize("half", [FP16, BF16])
def test_stored_weights_are_the_nearest_halves_and_nothing_else_changes(half: ir.DataType) -> None:
    net = residual_net()
    rounded = residual_net()
    for value in rounded.graph.initializers.values():
        assert value.const_value is not None
        array = value.const_value.numpy()
        if array.nbytes >= 256:  # smaller ones are not worth a Cast
            value.const_value = ir.tensor(array.astype(half.numpy()).astype(np.float32), name=value.name)
    given = feed(net)
    got, expected = outputs(halved(net, STORES, half), given), outputs(rounded, given)
    np.testing.assert_array_equal(got["y"], expected["y"])


@pytest.mark.parametrize("half", [FP16, BF16])
def test_the_file_holds_half_the_bytes(half: ir.DataType) -> None:
    net = model("g (float[N,64] x) => (float[N,256] y) { y = MatMul(x, w) }", w=normal(64, 256))
    assert models.weight_bytes(halved(net, STORES, half)) == {str(half.numpy().name): 64 * 256 * 2}


@pytest.mark.parametrize("name", list(MODELS))
@pytest.mark.parametrize("target", [STORES, COMPUTES], ids=["stored", "computed"])
def test_models_of_every_kind_run_with_float32_at_both_ends(target: targets.Target, name: str) -> None:
    net = MODELS[name]()
    if net.opset_imports.get("", 0) < 13:
        net = models.raise_opset(net, 13)
    after = halved(net, target)
    given = feed(net)
    got, expected = outputs(after, given), outputs(net, given)
    assert list(got) == list(expected)
    for output, value in expected.items():
        assert got[output].dtype == value.dtype
        if value.dtype.kind == "f":
            # float16 rounds each value to 2^-11 of itself; a dozen layers of sums that cancel: 3 % of the largest.
            np.testing.assert_allclose(got[output], value, rtol=0.03, atol=0.03 * max(1.0, np.abs(value).max()))
    assert [(v.name, v.dtype) for v in after.graph.inputs] == [(v.name, v.dtype) for v in net.graph.inputs]


def test_a_chain_that_computes_in_half_is_cast_at_its_ends_alone() -> None:
    after = halved(residual_net())
    assert operators(after)["Cast"] == 2
    assert models.weight_bytes(after).keys() == {"float16"}


def test_nodes_that_move_values_of_a_float_node_stay_float_so_that_nothing_is_cast_forth_and_back() -> None:
    text = """g (float[N,4] x) => (float[N,4] y) {
        big = Mul(x, c)
        t = Transpose(big)
        u = Transpose(t)
        s = Mul(u, d)
        y = Relu(s)
    }"""
    net = model(text, c=np.array([1e5], np.float32), d=np.array([1e-5], np.float32))
    after = halved(net)
    assert list(refusals(net)) == ["big"]
    assert operators(after)["Cast"] == 2  # u for the second Mul, and y
    given = feed(net)
    np.testing.assert_allclose(outputs(after, given)["y"], outputs(net, given)["y"], rtol=2e-3, atol=1e-3)


def test_what_was_measured_out_of_range_stays_float_and_no_output_is_infinite() -> None:
    """Inputs scaled by 10,000, as a check of overflow asks: without ranges the first product overflows."""
    text = "g (float[N,64] x) => (float[N,8] y) { a = MatMul(x, w)\n s = MatMul(a, v)\n n = Mul(s, c)\n y = Cos(n) }"
    weights = {"w": normal(64, 64), "v": normal(64, 8), "c": np.array([1e-5], np.float32)}
    net = model(text, **weights)
    given = {"x": normal(4, 64) * 1e4}
    assert not np.isfinite(in_true_half(halved(net), given)["y"]).all()
    seen = ranges(net, [given])
    assert set(refusals(net, ranges=seen)) == {"a", "s", "n"}
    assert re.fullmatch(r"'a' reaches 1\.\d+e\+05, float16 ends at 65504", refusals(net, ranges=seen)["a"])
    safe = in_true_half(halved(net, ranges=seen), given)
    # The Cos of values up to 10 that were rounded to 2^-11 of themselves.
    np.testing.assert_allclose(safe["y"], outputs(net, given)["y"], atol=2e-2)


def test_squares_that_are_summed_inside_are_judged_by_the_square() -> None:
    net = model(
        "g (float[N,8] x) => (float[N,1] y) { y = ReduceL2<keepdims=1>(x, axes) }", axes=np.array([1]), opset=18
    )
    near = {"x": TensorStatistics(count=1, low=-300.0, high=10.0)}
    assert refusals(net, ranges=near) == {"y": "ReduceL2 squares 'x', which reaches 300"}
    assert refusals(net, ranges={"x": TensorStatistics(count=1, low=-100.0, high=10.0)}) == {}


@pytest.mark.parametrize(("value", "kept"), [(1e-12, True), (1e-3, False), (7e4, True), (np.inf, False), (0.0, False)])
def test_a_constant_that_would_become_zero_or_infinite_keeps_its_node_in_float(value: float, kept: bool) -> None:
    net = model("g (float[N,4] x) => (float[N,4] y) { s = Add(x, e)\n y = Relu(s) }", e=np.array([value], np.float32))
    assert ("s" in refusals(net)) == kept


def test_a_weight_out_of_range_is_stored_in_float() -> None:
    net = model("g (float[N,16] x) => (float[N,16] y) { y = MatMul(x, w) }", w=normal(16, 16) * 1e5)
    assert models.weight_bytes(halved(net, STORES)) == {"float32": 1024}
    assert models.weight_bytes(halved(net, STORES, BF16)) == {"bfloat16": 512}
    tensor = net.graph.initializers["w"].const_value
    assert tensor is not None
    assert not fits(tensor, FP16)


def test_small_weights_are_flushed_and_subnormal_ones_kept() -> None:
    weight = np.full((16, 16), 1.0, np.float32)
    weight[0, :3] = [2e-8, 7e-8, -1e-9]
    after = halved(model("g (float[N,16] x) => (float[N,16] y) { y = MatMul(x, w) }", w=weight), STORES)
    stored = after.graph.initializers["w_half"].const_value
    assert stored is not None
    np.testing.assert_array_equal(stored.numpy()[0, :3].astype(np.float64), [0.0, 2.0**-24, 0.0])


def test_the_scales_of_resize_stay_float_and_the_rest_of_it_does_not() -> None:
    text = """g (float[1,2,4,4] x) => (float[1,2,8,8] y) { c = Relu(x)\n y = Resize<mode="nearest">(c, , scales) }"""
    after = halved(model(text, scales=np.array([1, 1, 2, 2], np.float32)))
    node = next(node for node in after.graph if node.op_type == "Resize")
    assert [value.dtype for value in node.inputs if value is not None and value.name] == [FP16, ir.DataType.FLOAT]
    assert operators(after)["Cast"] == 2


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("y = Range(x, a, b)", "Range has no float16 form at opset 17"),
        ("y = com.microsoft.Gelu(x)", "what com.microsoft.Gelu takes is not known"),
        ("y = RandomNormalLike(x)", "the type of RandomNormalLike is written in it"),
        ("t = Cast<to=7>(x)\n u = Add(t, t)\n y = Cast<to=1>(u)", "it has no float32 input or output"),
    ],
)
def test_what_has_no_half_form_says_so(body: str, reason: str) -> None:
    scalars = {"a": np.array(3, np.float32), "b": np.array(1, np.float32)} if "Range" in body else {}
    shape = "" if "Range" in body else "[N]"
    net = model(f"g (float{shape} x) => (float[M] y) {{ {body} }}", imports=', "com.microsoft" : 1', **scalars)
    assert reason in refusals(net).values()


def test_unknown_operators_of_the_standard_domain_are_left_alone() -> None:
    node = ir.node("NoSuchOperator", [ir.val("x", ir.DataType.FLOAT)])
    assert halves(node, 17, FP16, [True], [True]).refusal == "what NoSuchOperator takes is not known at opset 17"


def test_excluded_layers_keep_their_weights() -> None:
    net = model(
        "g (float[N,16] x) => (float[N,16] y) { h = MatMul(x, w)\n y = MatMul(h, v) }",
        w=normal(16, 16),
        v=normal(16, 16, seed=1),
    )
    for target in (STORES, COMPUTES):
        after = halved(net, target, exclude=frozenset({"h"}))
        assert models.weight_bytes(after) == {"float32": 1024, "float16": 512}


def test_a_weight_that_an_excluded_layer_reads_too_is_not_stored_twice() -> None:
    net = model("g (float[N,16] x) => (float[N,16] y) { h = MatMul(x, w)\n y = MatMul(h, w) }", w=normal(16, 16))
    assert models.weight_bytes(halved(net, STORES, exclude=frozenset({"h"}))) == {"float32": 1024}


def test_weights_in_bodies_of_control_flow_are_stored_in_half() -> None:
    text = """g (float[N,16] x, bool c) => (float[N,16] y) {
        y = If (c) <
            then_branch = t () => (float[N,16] a) { k = Constant<value = float[256] {%s}>()
                r = Reshape(k, s) a = MatMul(x, r) },
            else_branch = e () => (float[N,16] b) { b = MatMul(x, big) }
        >
    }"""
    text = text.replace("%s", ", ".join(str(value) for value in normal(256)))
    net = model(text, big=normal(16, 16), s=np.array([16, 16]))
    after = halved(net, STORES)
    assert models.weight_bytes(after) == {"float16": 512 + 512, "int64": 16}
    for branch in (True, False):
        given = {"x": normal(16, 16), "c": np.array(branch)}
        # 16 products with weights that were rounded to 2^-11 of themselves.
        np.testing.assert_allclose(outputs(after, given)["y"], outputs(net, given)["y"], atol=2e-2)


def test_a_constant_node_is_stored_in_half_too() -> None:
    net = model("g (float[N,16] x) => (float[N,16] y) { y = MatMul(x, w) }", w=normal(16, 16))
    constant = ir.node("Constant", [], {"value": ir.tensor(normal(16, 16))})
    constant.outputs[0].name = "k"
    net.graph.insert_before(net.graph[0], constant)
    net.graph[1].replace_input_with(1, constant.outputs[0])
    del net.graph.initializers["w"]
    after = halved(net, STORES)
    assert models.weight_bytes(after) == {"float16": 512}
    given = feed(net)
    # 16 products with weights that were rounded to 2^-11 of themselves.
    np.testing.assert_allclose(outputs(after, given)["y"], outputs(net, given)["y"], atol=5e-3)


def test_an_old_opset_is_refused_by_name() -> None:
    net = model("g (float[N,4] x) => (float[N,4] y) { y = Relu(x) }", opset=12)
    with pytest.raises(UnsupportedError, match="the model has opset 12 and the quantized form needs 13"):
        halved(net)


def test_the_float_model_is_untouched() -> None:
    net = residual_net()
    before = ir.to_proto(net).SerializeToString(deterministic=True)
    halved(net)
    halved(net, STORES)
    assert ir.to_proto(net).SerializeToString(deterministic=True) == before
