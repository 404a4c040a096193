"""The quantized graph: what ONNX Runtime fuses, how far outputs move, what stays untouched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploycompress import model as models
from deploycompress import targets
from deploycompress.calibration import collect
from deploycompress.errors import UnsupportedError
from deploycompress.quantization.plan import plan, required_tensors
from deploycompress.quantization.qdq import emit_qdq
from tests.quantization.nets import TARGET, feeds, fused, quantized, residual_net, run, sqnr_db
from tests.zoo import model, normal


def test_a_residual_net_runs_in_int8_from_end_to_end(tmp_path: Path) -> None:
    ops = fused(quantized(residual_net())[1], tmp_path)
    assert ops["QLinearConv"] == 2
    assert ops["QLinearAdd"] == 1
    assert ops["QLinearGlobalAveragePool"] == 1
    assert ops["QGemm"] == 1
    # Q of the input, and nothing in between: the Gemm writes float.
    assert (ops["QuantizeLinear"], ops["DequantizeLinear"]) == (1, 0)
    assert not ops.keys() & {"Conv", "Gemm", "Relu", "Add"}


@pytest.mark.parametrize("name", ["server-cpu", "server-cpu-avx2", "server-tensorrt", "mobile-arm64", "edge-arm64"])
def test_outputs_stay_close_in_the_form_of_every_target(name: str) -> None:
    net = residual_net()
    _, int8 = quantized(net, targets.load(name))
    feed = feeds(net)[3]
    # As written, without fusion: the form itself is judged, on any machine. 8 bits give about 50 dB a layer on normal
    # data; three layers and a residual keep 30 dB with room to spare, a wrong scale or zero point is below 10 dB.
    assert sqnr_db(run(net, feed)["y"], run(int8, feed, "none")["y"]) > 30


@settings(max_examples=25)
@given(
    channels=st.integers(1, 9),
    kernel=st.sampled_from([1, 3]),
    scale=st.floats(0.01, 10.0),
    positive=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_fused_kernels_compute_what_the_file_says(
    channels: int, kernel: int, scale: float, positive: bool, seed: int
) -> None:
    weight = normal(8, channels, kernel, kernel, seed=seed) * np.float32(scale)
    net = model(
        f"g (float[1,{channels},6,6] x) => (float[1,8,M,K] y) {{ y = Conv(x, w, b) }}",
        w=np.abs(weight) if positive else weight,
        b=normal(8, seed=seed),
    )
    made, int8 = quantized(net)
    feed = {"x": np.abs(feeds(net)[0]["x"])}
    step = made.activations["y"].grid.scale
    difference = np.abs(run(int8, feed)["y"] - run(int8, feed, "none")["y"]).max()
    # int32 accumulation against float32: a value on the edge between two codes may fall to either, never further.
    # Saturating kernels miss by dozens of steps (positive weights and inputs make every pair sum large).
    assert difference <= 1.01 * step


def test_the_net_given_is_not_touched() -> None:
    net = residual_net()
    before = models.serialize(net)
    quantized(net)
    assert models.serialize(net) == before


def test_input_and_output_names_stay() -> None:
    net = model(
        "g (float[1,3,6,6] x) => (float[1,4,4,4] y, float[1,4,4,4] z) { c = Conv(x, w) y = Relu(c) z = Sigmoid(y) }",
        w=normal(4, 3, 3, 3),
    )
    _, int8 = quantized(net)
    assert [value.name for value in int8.graph.outputs] == ["y", "z"]
    feed = feeds(net)[0]
    np.testing.assert_array_less(30, sqnr_db(run(net, feed)["y"], run(int8, feed)["y"]))


def test_no_float_weight_stays_in_the_file() -> None:
    _, int8 = quantized(residual_net())
    assert not {"w0", "w1", "w2", "b0"} & int8.graph.initializers.keys()
    floats = [value for value in int8.graph.initializers.values() if value.dtype == ir.DataType.FLOAT]
    assert max(value.const_value.size for value in floats if value.const_value) <= 8  # scales alone


def test_a_bias_is_stored_without_the_zeros_of_its_zero_point() -> None:
    _, int8 = quantized(residual_net())
    integers = [name for name, value in int8.graph.initializers.items() if value.dtype == ir.DataType.INT32]
    assert integers
    assert all(name.endswith("_quantized") for name in integers)


def test_a_clip_that_the_grid_implies_disappears_and_another_stays(tmp_path: Path) -> None:
    six = model(
        "g (float[1,3,6,6] x) => (float[1,4,2,2] y) { c = Conv(x, w) r = Clip(c, low, high) y = Conv(r, v) }",
        w=normal(4, 3, 3, 3),
        v=normal(4, 4, 3, 3),
        low=np.float32(0),
        high=np.float32(6),
    )
    made, int8 = quantized(six)
    assert made.nodes["c"].absorbs == "r"
    assert "Clip" not in [node.op_type for node in int8.graph]
    assert fused(int8, tmp_path)["QLinearConv"] == 2
    # Bounds that calibration data never reaches from inside: the grid spans less, values outside would differ.
    wide = residual_net(clamp="Relu(c0)")
    symmetric = targets.load("server-cpu").model_copy(
        update={"quant": targets.load("server-cpu").quant.model_copy(update={"activation_symmetric": True})}
    )
    made, int8 = quantized(wide, symmetric)
    assert made.nodes["c0"].absorbs is None
    assert "Relu" in [node.op_type for node in int8.graph]


def test_a_float_reader_of_a_quantized_tensor_reads_the_dequantized_value(tmp_path: Path) -> None:
    net = model(
        """g (float[1,3,6,6] x) => (float[1,4,4,4] y, float[1,4,2,2] z) {
            c = Conv(x, w)  s = Sigmoid(c)  y = Mul(c, s)  z = Conv(c, v) }""",
        w=normal(4, 3, 3, 3),
        v=normal(4, 4, 3, 3),
    )
    assert fused(quantized(net)[1], tmp_path)["QLinearConv"] == 2


def test_matmul_over_three_axes_writes_float(tmp_path: Path) -> None:
    net = model(
        "g (float[N,7,8] x) => (float[N,7,5] y) { m = MatMul(x, w) y = Add(m, b) }", w=normal(8, 5), b=normal(5)
    )
    _, int8 = quantized(net)
    feed = feeds(net)[0]
    assert fused(int8, tmp_path)["MatMulIntegerToFloat"] == 1
    assert sqnr_db(run(net, feed)["y"], run(int8, feed)["y"]) > 30


def test_matmul_with_bias_of_known_shapes_does_not_become_a_float_gemm(tmp_path: Path) -> None:
    net = model(
        "g (float[2,7,8] x) => (float[2,7,5] y) { t = Tanh(x) m = MatMul(t, w) y = Add(m, b) }",
        w=normal(8, 5),
        b=normal(5),
    )
    _, int8 = quantized(net)
    feed = feeds(net)[0]
    ops = fused(int8, tmp_path)
    assert (ops["MatMulIntegerToFloat"], ops["Gemm"], ops["DequantizeLinear"]) == (1, 0, 0)
    assert sqnr_db(run(net, feed)["y"], run(int8, feed)["y"]) > 30


def test_one_quantize_node_serves_every_reader() -> None:
    net = model(
        """g (float[N,8] x) => (float[N,4] a, float[N,4] b, float[N,4] c) {
            n = Tanh(x) a = Gemm(n, w0) b = Gemm(n, w1) c = Gemm(n, w2) }""",
        w0=normal(8, 4),
        w1=normal(8, 4, seed=1),
        w2=normal(8, 4, seed=2),
    )
    _, int8 = quantized(net)
    assert [node.op_type for node in int8.graph].count("QuantizeLinear") == 1


def test_each_reader_has_a_pair_of_its_own_where_the_target_wants_it() -> None:
    net = model(
        """g (float[1,3,6,6] x) => (float[1,4,4,4] y, float[1,4,4,4] z) {
            a = Conv(x, w)  b = Conv(x, v)  y = Relu(a)  z = Relu(b) }""",
        w=normal(4, 3, 3, 3),
        v=normal(4, 3, 3, 3, seed=1),
    )
    for name, pairs in (("server-tensorrt", 2), ("mobile-arm64", 3)):  # the latter: one for x, one behind each Conv
        int8 = quantized(net, targets.load(name))[1]
        quantizers = [node for node in int8.graph if node.op_type == "QuantizeLinear"]
        assert len(quantizers) == pairs
        readers = [use.node.op_type for node in quantizers for use in node.outputs[0].uses()]
        assert readers == ["DequantizeLinear"] * pairs
    tensorrt = quantized(net, targets.load("server-tensorrt"))[1]
    sources = {node.inputs[0].producer() for node in tensorrt.graph if node.op_type == "Conv" and node.inputs[0]}
    assert len(sources) == 2
    assert sqnr_db(run(net, feeds(net)[0])["y"], run(tensorrt, feeds(net)[0], "none")["y"]) > 30


def test_a_tensor_captured_by_a_control_flow_body_survives() -> None:
    net = model(
        """g (float[1,3,6,6] x, bool flag) => (float[1,4,4,4] y) {
            c = Conv(x, w)
            y = If (flag) <
                then_branch = t () => (float[1,4,4,4] a) { a = Relu(c) },
                else_branch = e () => (float[1,4,4,4] b) { b = Neg(c) }
            >
        }""",
        w=normal(4, 3, 3, 3),
    )
    feed = {"x": normal(1, 3, 6, 6), "flag": np.array(True)}
    found = collect(net, required_tensors(net, TARGET), [feed])
    int8 = emit_qdq(net, plan(net, TARGET, found))
    for flag in (True, False):
        feed["flag"] = np.array(flag)
        assert sqnr_db(run(net, feed)["y"], run(int8, feed)["y"]) > 30


def test_an_old_opset_is_refused_with_the_way_out() -> None:
    net = model("g (float[N,8] x) => (float[N,4] y) { y = Gemm(x, w, b) }", opset=11, w=normal(8, 4), b=normal(4))
    with pytest.raises(UnsupportedError, match=r"opset 11 and the quantized form needs 13"):
        quantized(net)


def test_an_excluded_layer_between_quantized_ones_really_stays_float(tmp_path: Path) -> None:
    # One channel a thousand times larger than the other: one scale for both would wipe the small one out, which is
    # what ONNX Runtime does on its own to a float Conv between DequantizeLinear and QuantizeLinear.
    uneven = normal(8, 8, 3, 3) * np.float32([1000, 1, 1, 1, 1, 1, 1, 1]).reshape(8, 1, 1, 1)
    net = model(
        """g (float[1,3,8,8] x) => (float[1,4,2,2] y) {
            a = Conv(x, u)  b = Conv(a, v)  r = Relu(b)  y = Conv(r, w) }""",
        u=normal(8, 3, 3, 3),
        v=uneven,
        w=normal(4, 8, 3, 3) / np.float32([1000, 1, 1, 1, 1, 1, 1, 1]).reshape(1, 8, 1, 1),
    )
    excluded = frozenset({"b"})
    found = collect(net, required_tensors(net, TARGET, excluded), feeds(net))
    int8 = emit_qdq(net, plan(net, TARGET, found, exclude=excluded))
    ops = fused(int8, tmp_path)
    assert (ops["QLinearConv"], ops["Conv"] + ops["FusedConv"]) == (2, 1)
    feed = feeds(net)[0]
    written, ran = run(int8, feed, "none")["y"], run(int8, feed)["y"]
    assert sqnr_db(written, ran) > 40  # the same graph; only values on the edge between two codes may differ
