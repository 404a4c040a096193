"""Weight-only graphs: arithmetic on the stored codes, what ONNX Runtime really fuses, and every refusal."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from deploycompress import model as models
from deploycompress import targets
from deploycompress.errors import UnsupportedError, UsageError
from deploycompress.quantization.affine import QuantizedTensor
from deploycompress.quantization.blocks import quantize_blocks
from deploycompress.quantization.spec import NodePlan, WeightSpec
from deploycompress.quantization.weight_only import BLOCKS, emit_weight_only, needed_opset, plan_weight_only
from deploycompress.runtime.session import Session, SessionConfig
from tests.zoo import model, normal

TARGET = targets.load("server-cpu")
# Accuracy level 0: the kernel multiplies in float instead of quantizing its input.
EXACT = SessionConfig(threads=1, entries={"session.qdq_matmulnbits_accuracy_level": "0"})
SPECS = [
    WeightSpec(8, 32),
    WeightSpec(8, None),
    WeightSpec(8, 64, symmetric=False),
    WeightSpec(4, 16),
    WeightSpec(4, 128, symmetric=False),
    WeightSpec(2, 32, symmetric=False),
    WeightSpec(2, 16, levels="ternary"),
    WeightSpec(4, 16, levels="binary"),
]


def two_products(opset: int = 25, inputs: int = 72) -> ir.Model:
    """MatMul, bias with two axes, Gemm with a transposed weight; 72 is no multiple of any block but 8."""
    return model(
        f"""g (float[N,{inputs}] x) => (float[N,24] y) {{
            m = MatMul(x, w0)
            a = Add(m, b0)
            r = Relu(a)
            y = Gemm<transB=1>(r, w1, b1)
        }}""",
        opset=opset,
        ir_version=13,
        w0=normal(inputs, 40),
        b0=normal(1, 40),
        w1=normal(24, 40, seed=1),
        b1=normal(24, seed=1),
    )


def expected(x: np.ndarray, spec: WeightSpec, inputs: int = 72) -> np.ndarray:
    """The same net in float64 on the dequantized weights."""
    w0 = quantize_blocks(normal(inputs, 40), spec).dequantize().astype(np.float64)
    w1 = quantize_blocks(normal(24, 40, seed=1).T.copy(), spec).dequantize().astype(np.float64)
    return np.maximum(x @ w0 + normal(1, 40), 0) @ w1 + normal(24, seed=1)


def fused(packed: ir.Model, folder: Path) -> Counter[str]:
    """Operators of the graph ONNX Runtime executes."""
    path = folder / "executed.onnx"
    Session(models.serialize(packed), SessionConfig(threads=1), optimized_path=path)
    return Counter(node.op_type for node in ir.load(path).graph)


def refusals(net: ir.Model, spec: WeightSpec = SPECS[0], exclude: frozenset[str] = frozenset()) -> dict[str, str]:
    """Reasons of the nodes that stay float."""
    plan = plan_weight_only(net, TARGET, spec, exclude)
    return {name: planned.reason for name, planned in plan.nodes.items() if planned.form == "float"}


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_outputs_are_those_of_the_dequantized_weights(spec: WeightSpec) -> None:
    net = two_products()
    packed = emit_weight_only(net, plan_weight_only(net, TARGET, spec))
    x = normal(5, 72, seed=2)
    got = Session(models.serialize(packed), EXACT).run({"x": x})["y"]
    # float32 sums of 72 products: 72 roundings of 2^-24 relative to the largest of them.
    np.testing.assert_allclose(got, expected(x, spec), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_onnx_runtime_dequantizes_no_weight_on_a_run(tmp_path: Path, spec: WeightSpec) -> None:
    net = two_products()
    packed = emit_weight_only(net, plan_weight_only(net, TARGET, spec))
    found = fused(packed, tmp_path)
    assert found["MatMulNBits"] == 2
    assert found["DequantizeLinear"] == found["MatMul"] == found["Gemm"] == 0


FRONTS = [
    "g = Gemm<transB=1>(x, wt, b)",
    "g = Gemm<transB=1>(x, wt)",
    "g = Gemm<transB=1>(x, wt, b2)",
    "g = MatMul(x, w)",
    "m = MatMul(x, w)\n g = Add(m, b)",
    "m = MatMul(x, w)\n g = Add(b2, m)",
]


@pytest.mark.parametrize("behind", ["Relu(g)", "Clip(g, lo)", "Gelu(g)"])
@pytest.mark.parametrize("front", FRONTS)
def test_neither_bias_nor_activation_keeps_a_product_from_the_kernel(tmp_path: Path, front: str, behind: str) -> None:
    """The product behind matters: a Relu with no reader would be harmless."""
    given = {"w": normal(64, 48), "wt": normal(64, 48).T, "b": normal(48), "b2": normal(1, 48), "v": normal(48, 32)}
    body = f"{front}\n r = {behind}\n y = MatMul(r, v)"
    spec = WeightSpec(4, 32)

    def net(weights: dict[str, np.ndarray]) -> ir.Model:
        used = {name: array for name, array in weights.items() if re.search(rf"\b{name}\b", body)}
        text = f"g (float[N,64] x) => (float[N,32] y) {{ {body} }}"
        return model(text, opset=21, ir_version=10, lo=np.float32(-0.5), **used)

    packed = emit_weight_only(net(given), plan_weight_only(net(given), TARGET, spec))
    found = fused(packed, tmp_path)
    assert found["MatMulNBits"] == 2
    assert found["DequantizeLinear"] == 0
    if behind == "Gelu(g)":  # the bias is added inside the kernel
        assert found["Add"] == found["Sum"] == 0
    w = quantize_blocks(given["w"], spec).dequantize()
    plain = net(given | {"w": w, "wt": w.T, "v": quantize_blocks(given["v"], spec).dequantize()})
    feed = {"x": normal(3, 64)}
    expected = Session(models.serialize(plain), EXACT).run(feed)["y"]
    # float32 sums of 64 and 48 products in another order.
    np.testing.assert_allclose(Session(models.serialize(packed), EXACT).run(feed)["y"], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("block", BLOCKS)
def test_every_block_is_fused_and_others_are_refused(tmp_path: Path, block: int) -> None:
    net = two_products(inputs=320)
    packed = emit_weight_only(net, plan_weight_only(net, TARGET, WeightSpec(4, block)))
    assert fused(packed, tmp_path)["MatMulNBits"] == 2
    with pytest.raises(UsageError, match="blocks of 48 are not fused"):
        plan_weight_only(net, TARGET, WeightSpec(4, 48))


def test_the_file_holds_the_codes_and_no_float_weight(tmp_path: Path) -> None:
    net = two_products(inputs=320)
    path = tmp_path / "packed.onnx"
    models.save(emit_weight_only(net, plan_weight_only(net, TARGET, WeightSpec(4, 32))), path)
    sizes = models.weight_bytes(models.load(path))
    assert sizes["int4"] == (320 * 40 + 40 * 24) / 2
    assert sizes["float32"] == 4 * (10 * 40 + 2 * 24 + 40 + 24)  # scales of 10 and 2 blocks, two biases
    stored = models.load(path).graph.initializers["w0_quantized"].const_value
    assert stored is not None
    np.testing.assert_array_equal(
        stored.numpy().astype(np.int8), quantize_blocks(normal(320, 40), WeightSpec(4, 32)).codes
    )


def test_codes_chosen_elsewhere_are_written_as_they_are() -> None:
    net = two_products()
    plan = plan_weight_only(net, TARGET, WeightSpec(4, 16))
    codes = np.random.default_rng(0).integers(-8, 8, (72, 40)).astype(np.int8)
    scale = np.full((5, 40), 0.5, np.float32)
    chosen = QuantizedTensor(codes, scale, np.zeros((5, 40), np.int8), 0, 16, 4)
    packed = emit_weight_only(net, plan, {"m": chosen})
    tensor = packed.graph.initializers["w0_quantized"].const_value
    assert tensor is not None
    np.testing.assert_array_equal(tensor.numpy().astype(np.int8), codes)


def test_products_that_share_a_weight_get_codes_of_their_own_without_which_nothing_is_fused(tmp_path: Path) -> None:
    net = model(
        "g (float[N,64] x, float[N,64] z) => (float[N,32] y) { a = MatMul(x, w)\n b = MatMul(z, w)\n y = Mul(a, b) }",
        opset=21,
        ir_version=10,
        w=normal(64, 32),
    )
    packed = emit_weight_only(net, plan_weight_only(net, TARGET, WeightSpec(4, 32)))
    assert models.weight_bytes(packed) == {"int4": 2048, "float32": 512}
    assert fused(packed, tmp_path)["MatMulNBits"] == 2


@pytest.mark.parametrize("rank", [2, 3])
def test_a_residual_behind_a_product_does_not_keep_it_from_the_kernel(tmp_path: Path, rank: int) -> None:
    shape = "N,64" if rank == 2 else "N,4,64"
    text = f"g (float[{shape}] x) => (float[{shape}] y) {{ m = MatMul(x, w)\n y = Add(x, m) }}"
    net = model(text, opset=21, ir_version=10, w=normal(64, 64))
    packed = emit_weight_only(net, plan_weight_only(net, TARGET, WeightSpec(4, 32)))
    assert fused(packed, tmp_path)["MatMulNBits"] == 1
    x = normal(2, 64) if rank == 2 else normal(2, 4, 64)
    expected = x + x @ quantize_blocks(normal(64, 64), WeightSpec(4, 32)).dequantize()
    # float32 sums of 64 products in another order.
    np.testing.assert_allclose(
        Session(models.serialize(packed), EXACT).run({"x": x})["y"], expected, rtol=1e-4, atol=1e-5
    )


def test_lookup_tables_take_8_bits_a_row() -> None:
    net = model(
        "g (int64[N] i) => (float[N,16] y) { e = Gather(t, i)\n y = MatMul(e, w) }",
        opset=21,
        ir_version=10,
        t=normal(2000, 64),
        w=normal(64, 16),
    )
    packed = emit_weight_only(net, plan_weight_only(net, TARGET, WeightSpec(4, 32)))
    assert models.weight_bytes(packed)["int8"] == 2000 * 64
    ids = np.array([0, 7, 1999])
    got = Session(models.serialize(packed), EXACT).run({"i": ids})["y"]
    rows = normal(2000, 64)[ids]
    step = np.abs(rows).max(axis=1, keepdims=True) / 127
    np.testing.assert_allclose(
        got,
        np.rint(rows / step) * step @ quantize_blocks(normal(64, 16), WeightSpec(4, 32)).dequantize(),
        rtol=1e-4,
        atol=1e-4,  # float32 sums of 64 products
    )


@pytest.mark.parametrize(("spec", "opset"), [(SPECS[0], 21), (SPECS[1], 13), (SPECS[3], 21), (SPECS[5], 25)])
def test_an_older_opset_is_refused_by_name(spec: WeightSpec, opset: int) -> None:
    assert needed_opset(spec) == opset
    net = two_products(opset=opset - 1)
    with pytest.raises(UnsupportedError, match=f"the model has opset {opset - 1} and the quantized form needs {opset}"):
        emit_weight_only(net, plan_weight_only(net, TARGET, spec))


def test_a_target_of_an_older_opset_is_told_what_it_can_hold() -> None:
    old = TARGET.model_copy(update={"max_opset": 21})
    with pytest.raises(UnsupportedError, match="2-bit weights need opset 25, server-cpu reads 21") as raised:
        plan_weight_only(two_products(), old, WeightSpec(2, 32, levels="ternary"))
    assert raised.value.remedy == "--bits 4 holds the same levels at twice the size"
    older = TARGET.model_copy(update={"max_opset": 20})
    with pytest.raises(UnsupportedError, match="4-bit weights need opset 21") as raised:
        plan_weight_only(two_products(), older, WeightSpec(4, 32))
    assert raised.value.remedy == "--bits 8 --block 0 holds one scale a channel"


def test_binary_weights_have_nothing_to_round() -> None:
    with pytest.raises(UsageError, match="binary weights have a sign and nothing to round, so gptq does not apply"):
        plan_weight_only(two_products(), TARGET, WeightSpec(2, 32, levels="binary", rounding="gptq"))


@pytest.mark.parametrize(
    ("body", "weight", "reason"),
    [
        ("y = Conv(x, w)", (32, 64, 1), "no convolution reads packed weights"),
        ("y = MatMul(x, w)", (1, 64, 32), "its weight has 3 axes"),
        ("y = MatMul(x, w)", (64, 2), "packed codes would save 368 bytes"),
        ("h = Cast<to=10>(x)\n m = MatMul(h, w)\n y = Cast<to=1>(m)", (64, 32), "its weight is FLOAT16, not FLOAT"),
        ("y = Gemm<alpha=0.5>(x, w)", (64, 32), "it has transA, alpha or beta"),
        ("m = MatMul(x, w)\n t = Transpose(w)\n s = MatMul(m, t)\n y = Mul(s, s)", (64, 64), "Transpose 't' reads its"),
        ("y = Gemm<transA=1>(x, w)", (64, 32), "it has transA, alpha or beta"),
        ("y = Gemm<beta=0.5>(x, w, x)", (64, 64), "it has transA, alpha or beta"),
        ("m = MatMul(x, w)\n s = MatMul(w, w)\n y = Add(m, s)", (64, 64), "MatMul 's' reads its weight in float"),
        (
            "m = MatMul(x, w)\n r = ReduceMax<keepdims=0>(x)\n k = Greater(r, r)\n"
            "s = If (k) <then_branch = a () => (float[64,32] p) { p = MatMul(x, w) },"
            " else_branch = b () => (float[64,32] q) { q = Identity(m) }>\n y = Add(m, s)",
            (64, 32),
            "MatMul 'p' reads its weight in float",
        ),
        # Each of four readers needs codes of its own: more bytes than the weight.
        (
            "a = MatMul(x, w)\n b = MatMul(a, w)\n c = MatMul(b, w)\n y = MatMul(c, w)",
            (64, 64),
            "packed codes would save",
        ),
        ("t = Transpose(x)\n y = MatMul(x, t)", (64, 64), "both its inputs are computed"),
    ],
)
def test_what_stays_float_says_why(body: str, weight: tuple[int, ...], reason: str) -> None:
    dtype = np.float16 if "FLOAT16" in reason else np.float32
    rank3 = "Conv" in body
    net = model(
        f"g (float[{'N,64,5' if rank3 else '64,64'}] x) => (float y) {{ {body} }}", w=normal(*weight, dtype=dtype)
    )
    assert any(text.startswith(reason) for text in refusals(net).values())
    assert not any(planned.weight for planned in plan_weight_only(net, TARGET, SPECS[0]).nodes.values())


@pytest.mark.parametrize("spec", [WeightSpec(2, 32, False), WeightSpec(2, 16, levels="ternary"), WeightSpec(2, None)])
@pytest.mark.parametrize("outputs", [65, 66, 68])
def test_2_bit_codes_are_those_that_the_kernel_reads_right(outputs: int, spec: WeightSpec) -> None:
    weight = normal(96, outputs)
    text = f"g (float[N,96] x) => (float[N,{outputs}] y) {{ y = MatMul(x, w) }}"
    net = model(text, opset=25, ir_version=13, w=weight)
    plan = plan_weight_only(net, TARGET, spec)
    assert plan.nodes["y"].form == ("weight-only" if outputs == 68 else "float")
    if outputs == 68:
        weight = quantize_blocks(weight, spec).dequantize()
    else:
        assert plan.nodes["y"].reason.startswith(f"ONNX Runtime misreads 2-bit codes of {outputs} outputs")
    x = normal(5, 96)
    got = Session(models.serialize(emit_weight_only(net, plan)), EXACT).run({"x": x})["y"]
    np.testing.assert_allclose(got, x @ weight, rtol=1e-4, atol=1e-4)  # float32 sums of 96 products


@pytest.mark.parametrize("shape", [(32,), (1, 32), (1, 1, 32), (1, 1, 1, 32)])
def test_a_bias_of_any_rank_gives_the_axes_it_gave(shape: tuple[int, ...]) -> None:
    axes = "A,2,3,32" if len(shape) == 4 else "2,3,32"
    net = model(
        f"g (float[2,3,64] x) => (float[{axes}] y) {{ m = MatMul(x, w) y = Add(m, b) }}",
        opset=21,
        ir_version=10,
        w=normal(64, 32),
        b=normal(*shape),
    )
    packed = emit_weight_only(net, plan_weight_only(net, TARGET, WeightSpec(4, 32)))
    x = normal(2, 3, 64)
    got = Session(models.serialize(packed), EXACT).run({"x": x})["y"]
    wanted = x @ quantize_blocks(normal(64, 32), WeightSpec(4, 32)).dequantize() + normal(*shape)
    assert got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)  # float32 sums of 64 products


def test_a_weight_that_the_caller_gets_stays() -> None:
    net = model("g (float[N,64] x) => (float[N,32] y, float[64,32] w) { y = MatMul(x, w) }", w=normal(64, 32))
    assert refusals(net) == {"y": "the caller reads its weight in float, so codes would only add to the file"}


def test_an_excluded_node_stays_float() -> None:
    net = two_products()
    assert refusals(net, exclude=frozenset({"m"})) == {"m": "excluded by the user"}
    packed = emit_weight_only(net, plan_weight_only(net, TARGET, SPECS[0], frozenset({"m"})))
    assert "w0" in packed.graph.initializers
    assert "w1" not in packed.graph.initializers


def test_reasons_describe_how_a_weight_is_stored() -> None:
    plan = plan_weight_only(two_products(), TARGET, WeightSpec(2, 32, levels="ternary"))
    assert plan.nodes["m"] == NodePlan(
        "m",
        "",
        "MatMul",
        "weight-only",
        "ternary (2-bit codes) weights, one scale a block of 32, dequantized inside the kernel",
        weight=WeightSpec(2, 32, levels="ternary"),
    )


def test_codes_are_computed_when_the_file_is_written() -> None:
    net = two_products()
    packed = emit_weight_only(net, plan_weight_only(net, TARGET, SPECS[0]))
    lazy = [v for v in packed.graph.initializers.values() if isinstance(v.const_value, ir.LazyTensor)]
    assert len(lazy) == 4
    assert "w0" in net.graph.initializers  # the float model is untouched
