"""Counted pair sums against a plain loop, and against what the kernels of this machine do."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploycompress import targets
from deploycompress.calibration import collect
from deploycompress.quantization.affine import Grid, pair_safe_scale, quantize_weight
from deploycompress.quantization.plan import plan, required_tensors
from deploycompress.quantization.qdq import emit_qdq
from deploycompress.quantization.qoperator import to_qoperator
from deploycompress.quantization.saturation import saturation, unsafe_channels
from deploycompress.quantization.spec import QuantPlan
from tests.quantization.nets import TARGET, feeds, residual_net, run, statistics
from tests.zoo import model, normal

FULL_RANGE = targets.load("server-cpu")


def brute_force(codes: np.ndarray, weight: np.ndarray) -> tuple[int, int]:
    """(saturating, all) pair sums of an image [C, H, W] of codes and int8 codes [O, C, kh, kw], in plain loops."""
    _, height, width = codes.shape
    _, _, rows, columns = weight.shape
    saturating = pairs = 0
    for y, x in product(range(height - rows + 1), range(width - columns + 1)):
        patch = codes[:, y : y + rows, x : x + columns].transpose(1, 2, 0).reshape(-1).astype(int)
        for kernel in weight.transpose(0, 2, 3, 1).reshape(len(weight), -1).astype(int):
            for first in range(0, len(patch), 2):
                total = sum(
                    int(a) * int(w) for a, w in zip(patch[first : first + 2], kernel[first : first + 2], strict=True)
                )
                saturating += not -32768 <= total <= 32767
                pairs += 1
    return saturating, pairs


@settings(max_examples=15)
@given(channels=st.integers(1, 5), kernel=st.integers(1, 3), positive=st.booleans(), seed=st.integers(0, 99))
def test_the_share_is_that_of_a_plain_loop(channels: int, kernel: int, positive: bool, seed: int) -> None:
    weight = normal(3, channels, kernel, kernel, seed=seed)
    weight = np.abs(weight) if positive else weight
    net = model(f"g (float[1,{channels},5,5] x) => (float[1,3,M,K] y) {{ y = Conv(x, w) }}", w=weight)
    image = np.abs(normal(1, channels, 5, 5, seed=seed))
    made = plan(net, FULL_RANGE, collect(net, required_tensors(net, FULL_RANGE), [{"x": image}]), method="minmax")
    found = saturation(net, made, emit_qdq(net, made), [{"x": image}])
    grid = made.activations["x"].grid
    codes = np.clip(np.rint(image[0] / np.float32(grid.scale)) + grid.zero_point, 0, 255)
    saturating, pairs = brute_force(codes, quantize_weight(weight, 0).codes)
    assert found.layers[0].share == pytest.approx(saturating / pairs, abs=1e-12)


def test_a_product_of_large_weights_and_inputs_saturates_and_its_pair_safe_form_cannot() -> None:
    net = model(
        "g (float[N,8] x) => (float[N,4] y) { t = Sigmoid(x) y = Gemm<transB=1>(t, w, b) }",
        w=np.ones((4, 8), np.float32),
        b=normal(4),
    )
    inputs = [{"x": np.full((2, 8), 9, np.float32)}]
    shares = {}
    for target in (FULL_RANGE, TARGET):
        made = plan(net, target, collect(net, required_tensors(net, target), inputs))
        found = saturation(net, made, emit_qdq(net, made), inputs)
        shares[target.name] = found
        assert (found.layers[0].share, found.layers[0].channels_at_risk) == (1.0, 4)  # of what full range would give
    assert shares["server-cpu"].unsafe == {"y": 4}
    assert shares["server-cpu-avx2"].unsafe == {}
    assert shares["server-cpu-avx2"].sentence == (
        "with full-range weights 1 of 1 layers could saturate 16-bit pair sums "
        "(worst: y, 100.00% of them on 1 samples); none can now"
    )
    assert shares["server-cpu"].sentence.endswith("4 output channels of the file still can")


def test_channels_that_cannot_saturate_keep_their_full_range() -> None:
    # A large weight beside one of the other sign: no sum of the two can overflow, so nothing is taken from it.
    alone, crowded = np.resize(np.array([1.0, -1.0], np.float32), 8), np.full(8, 1.0, np.float32)
    weight = np.stack([alone, crowded])
    scale = quantize_weight(weight, 0, min_scale=pair_safe_scale(weight)).scale
    np.testing.assert_allclose(scale, [1 / 127, 2 / 127], rtol=1e-6)


def test_every_layer_of_a_net_is_counted_and_its_written_form_is_safe() -> None:
    net = residual_net()
    made = plan(net, TARGET, statistics(net))
    found = saturation(net, made, emit_qdq(net, made), feeds(net)[:3])
    assert [layer.node for layer in found.layers] == ["c0", "c1", "y"]
    assert (found.samples, found.unsafe) == (3, {})
    assert 0 < max(layer.share for layer in found.layers) < 0.2
    assert [layer.share for layer in found.at_risk] == sorted((x.share for x in found.at_risk), reverse=True)


def test_depthwise_kernels_have_no_pairs() -> None:
    net = model("g (float[1,4,6,6] x) => (float[1,4,4,4] y) { y = Conv<group=4>(x, w) }", w=np.abs(normal(4, 1, 3, 3)))
    made = plan(net, FULL_RANGE, statistics(net, FULL_RANGE))
    assert saturation(net, made, emit_qdq(net, made), feeds(net)[:1]).at_risk == ()
    assert unsafe_channels(emit_qdq(net, made)) == {}


def test_a_group_for_each_output_of_two_inputs_is_not_depthwise() -> None:
    # Its kernel adds pairs in 16 bits: with full-range codes ONNX Runtime gives half the output on x86 without VNNI.
    net = model(
        "g (float[1,8,6,6] x) => (float[1,4,4,4] y) { t = Sigmoid(x) y = Conv<group=4>(t, w) }",
        w=np.ones((4, 2, 3, 3), np.float32),
    )
    large = {"x": np.full((1, 8, 6, 6), 9, np.float32)}
    made = plan(net, TARGET, collect(net, required_tensors(net, TARGET), [large]))
    written = emit_qdq(net, made)
    assert saturation(net, made, written, [large]).layers[0].share == 1.0
    assert unsafe_channels(written) == {}
    # Half a step of the output grid, and one code of 63 for the weights.
    np.testing.assert_allclose(run(written, large)["y"], run(net, large)["y"], rtol=0.5 / 255 + 1 / 63)


def test_codes_of_integer_operators_are_looked_at_too() -> None:
    net = model("g (uint8[N,4] a) => (int32[N,2] y) { y = MatMulInteger(a, w) }", w=np.array([[127, 1]] * 4, np.int8))
    assert unsafe_channels(net) == {"y": 1}


def test_a_pair_that_sums_to_the_limit_is_no_risk() -> None:
    weight = np.zeros((2, 8), np.float32)
    weight[:, 0], weight[0, 1], weight[1, 1] = 127, 1, 2  # codes of 128 and 129: 255 * 128 fits 16 bits
    net = model("g (float[N,8] x) => (float[N,2] y) { t = Sigmoid(x) y = Gemm<transB=1>(t, w) }", w=weight)
    inputs = [{"x": np.full((2, 8), 30, np.float32)}]
    made = plan(net, FULL_RANGE, collect(net, required_tensors(net, FULL_RANGE), inputs))
    found = saturation(net, made, emit_qdq(net, made), inputs)
    assert (found.layers[0].channels_at_risk, found.unsafe) == (1, {"y": 1})


def test_unsafe_channels_of_both_layouts_are_the_same() -> None:
    net = model(
        """g (float[N,3,5,5] x) => (float[N,3] y) {
            c = Conv(x, w0)  r = Relu(c)  f = Flatten(r)  m = MatMul(f, w1)  k = MatMul(m, w2)  y = Gemm(k, w3, b) }""",
        w0=np.abs(normal(4, 3, 3, 3)),
        w1=np.abs(normal(36, 8)),
        w2=np.abs(normal(8, 6)),
        w3=np.abs(normal(6, 3)),
        b=normal(3),
    )
    written = emit_qdq(net, plan(net, FULL_RANGE, statistics(net, FULL_RANGE)))
    operators = to_qoperator(written, contrib=True)
    assert {"QLinearConv", "QLinearMatMul", "QGemm"} <= {node.op_type for node in operators.graph}
    found = unsafe_channels(written)
    assert len(found) == 4
    assert list(unsafe_channels(operators).values()) == list(found.values())


def test_groups_are_counted_apart() -> None:
    weight = np.zeros((4, 2, 1, 1), np.float32)
    weight[:2] = 1.0  # the first group saturates where its inputs are large, the second has no weights
    net = model("g (float[1,4,1,1] x) => (float[1,4,1,1] y) { y = Conv<group=2>(x, w) }", w=weight)
    image = np.ones((1, 4, 1, 1), np.float32)
    made: QuantPlan = plan(net, FULL_RANGE, collect(net, required_tensors(net, FULL_RANGE), [{"x": image}]))
    assert made.activations["x"].grid == Grid(pytest.approx(1 / 255), 0, "uint8")
    assert saturation(net, made, emit_qdq(net, made), [{"x": image}]).layers[0].share == 0.5


def test_rows_are_looked_at_where_one_axis_is_shorter_than_the_step_between_them() -> None:
    weight = np.full((1, 2, 5, 1), 0.5, np.float32)
    net = model("g (float[1,2,H,1] x) => (float[1,1,M,1] y) { y = Conv(x, w) }", w=weight)
    image = np.ones((1, 2, 600, 1), np.float32)
    made = plan(net, FULL_RANGE, collect(net, required_tensors(net, FULL_RANGE), [{"x": image}]), method="minmax")
    assert saturation(net, made, emit_qdq(net, made), [{"x": image}]).layers[0].share == 1.0
