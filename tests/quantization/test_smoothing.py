"""Channels rescaled before quantization: nothing changes in float, outlier channels cost less in int8."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploycompress.calibration import collect
from deploycompress.calibration.statistics import TensorStatistics
from deploycompress.quantization.affine import grid, quantize, quantize_weight
from deploycompress.quantization.plan import channel_axes, plan, required_tensors
from deploycompress.quantization.qdq import emit_qdq
from deploycompress.quantization.smoothing import Site, Smoothing, sites, smooth, smoothing
from deploycompress.runtime.session import SessionConfig
from tests.quantization.encoders import NORM_OUTLIER, WIDTH, block, inputs
from tests.quantization.nets import TARGET, run, sqnr_db
from tests.zoo import model, normal, positive, with_outputs

INT8 = ("h", "o", "z")


def drawn(width: int, seed: int, *, shifts: bool = True) -> Smoothing:
    rng = np.random.default_rng(seed)
    return Smoothing(np.exp(rng.normal(0, 1, width)), rng.normal(0, 1, width) * shifts)


def assert_same(before: ir.Model, after: ir.Model, feed: dict[str, np.ndarray]) -> None:
    """Equal to 1e-5 of the largest value: scales of e^3 at most, sums of 96 products in float32 (2^-24 each)."""
    expected, got = run(before, feed, "none"), run(after, feed, "none")
    assert list(expected) == list(got)
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, rtol=0, atol=1e-5 * max(1.0, np.abs(value).max()))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 999), st.booleans())
def test_any_scale_and_shift_leave_the_outputs_as_they_are(seed: int, transposed: bool) -> None:
    net = block(norm_outlier=1.0)
    if transposed:
        gemm = next(node for node in net.graph if node.outputs[0].name == "h")
        gemm.attributes["transB"] = ir.AttrInt64("transB", 1)
        value = net.graph.initializers["w0"]
        value.const_value, value.shape = ir.tensor(value.const_value.numpy().T.copy()), ir.Shape([96, 64])  # type: ignore[union-attr]
    found, _ = sites(net, INT8)
    assert {site.tensor: site.shifts for site in found} == {"n": True, "y": False}  # y is given to the caller
    after = smooth(net, {site.tensor: drawn(WIDTH, seed, shifts=site.shifts) for site in found})
    assert_same(net, after, inputs(1)[0])


def test_the_smoothed_tensor_is_what_the_formula_says() -> None:
    net, by = block(), drawn(WIDTH, 1)
    feed = inputs(1)[0]
    before = run(with_outputs(net, "n"), feed, "none")["n"]
    after = run(with_outputs(smooth(net, {"n": by}), "n"), feed, "none")["n"]
    # float32: two roundings of the gain and bias, relative to terms of up to 200
    np.testing.assert_allclose(after, (before - by.shift) / by.scale, atol=1e-3)


def test_scale_and_shift_follow_the_paper() -> None:
    seen = TensorStatistics.of(np.array([[0.0, -1.0], [8.0, 1.0]], np.float32), channel_axis=1)
    site = Site("x", "x", ("h",), np.array([1.0, 4.0]), shifts=True)
    found = smoothing(site, seen, 0.5)
    assert found is not None
    np.testing.assert_allclose(found.shift, [4, 0])
    # max|y - t| = 4, 1; max|W| = 1, 4: s = sqrt(4 / 1), sqrt(1 / 4), of which only the ratio means anything
    np.testing.assert_allclose(found.scale[0] / found.scale[1], 4)
    all_weight = smoothing(site, seen, 1.0)
    assert all_weight is not None
    np.testing.assert_allclose(all_weight.scale, [2, 0.5])
    assert smoothing(site, TensorStatistics.of(np.ones(3, np.float32)), 0.5) is None


def test_equal_channels_and_weights_are_left_as_they_are() -> None:
    seen = TensorStatistics.of(np.array([[-2.0] * 3, [2.0] * 3], np.float32), channel_axis=1)
    found = smoothing(Site("x", "x", ("h",), np.full(3, 0.3), shifts=True), seen, 0.75)
    assert found is not None
    np.testing.assert_allclose(found.scale, 1.0)
    np.testing.assert_allclose(found.shift, 0.0)


def test_a_channel_that_is_never_used_divides_nothing_by_zero() -> None:
    seen = TensorStatistics.of(np.array([[0.0, -1.0], [0.0, 1.0]], np.float32), channel_axis=1)
    found = smoothing(Site("x", "x", ("h",), np.array([0.0, 0.0]), shifts=False), seen, 0.75)
    assert found is not None
    assert np.isfinite(found.scale).all()
    assert (found.scale > 0).all()


def test_sq_1_a_planted_outlier_channel_costs_two_fifths_at_most() -> None:
    """CHECK SQ-1: per-tensor 8-bit activations with a x50 channel, per-channel weights, in numpy alone."""
    x, w = normal(256, 64), normal(64, 32, seed=1)
    x[:, NORM_OUTLIER] *= 50
    seen = TensorStatistics.of(x, channel_axis=1)
    by = smoothing(Site("x", "x", ("h",), np.abs(w).max(axis=1), shifts=False), seen, 0.5)
    assert by is not None

    def error(activation: np.ndarray, weight: np.ndarray) -> float:
        on = grid(float(activation.min()), float(activation.max()), "uint8", symmetric=False)
        rounded = (quantize(activation, on).astype(np.float64) - on.zero_point) * on.scale
        found = rounded @ quantize_weight(weight, 1).dequantize()
        return float(np.linalg.norm(found - x.astype(np.float64) @ w))

    smoothed = error((x / by.scale).astype(np.float32), (w * by.scale[:, None]).astype(np.float32))
    assert smoothed <= 0.4 * error(x, w)


def test_the_quantized_block_gains_decibels() -> None:
    net = block()

    def quantized(given: ir.Model) -> ir.Model:
        axes = channel_axes(given)
        seen = collect(
            given, required_tensors(given, TARGET), inputs(), config=SessionConfig(threads=1), channel_axes=axes
        )
        return emit_qdq(given, plan(given, TARGET, seen))

    axes, config = channel_axes(net), SessionConfig(threads=1)
    seen = collect(net, required_tensors(net, TARGET), inputs(), config=config, channel_axes=axes)
    chosen = {site.tensor: smoothing(site, seen[site.tensor], 0.75) for site in sites(net, INT8)[0]}
    after = smooth(net, {name: by for name, by in chosen.items() if by is not None})
    feed = {"x": normal(64, WIDTH, seed=7)}
    plain, better = (sqnr_db(run(net, feed)["z"], run(quantized(each), feed)["z"]) for each in (net, after))
    assert better > plain + 6  # a channel 50 times larger takes 5 of the 8 bits; half of them come back


def test_products_behind_a_reshape_to_rows_count() -> None:
    net = model(
        """g (float[2,3,8] x) => (float[6,5] y) {
            n = LayerNormalization(x, g0, b0) m = Reshape(n, rows) y = Gemm(m, w, c) }""",
        g0=positive(8),
        b0=normal(8),
        rows=np.array([-1, 8]),
        w=normal(8, 5),
        c=normal(5),
    )
    (site,), _ = sites(net, ("y",))
    assert (site.tensor, site.read, site.products, site.shifts) == ("n", "m", ("y",), True)
    assert_same(net, smooth(net, {"n": drawn(8, 3)}), {"x": normal(2, 3, 8)})


@pytest.mark.parametrize("order", ["Mul(x, g0)", "Mul(g0, x)", "RMS"])
def test_producers_without_a_bias_are_scaled_alone(order: str) -> None:
    made = "RMSNormalization(x, g0)" if order == "RMS" else order
    net = model(
        f"g (float[N,8] x) => (float[N,5] y) {{ n = {made} y = MatMul(n, w) }}",
        opset=23,
        ir_version=11,
        g0=positive(8),
        w=normal(8, 5),
    )
    (site,), _ = sites(net, ("y",))
    assert not site.shifts
    after = smooth(net, {"n": drawn(8, 3, shifts=False)})
    assert [node.op_type for node in after.graph] == [node.op_type for node in net.graph]
    assert_same(net, after, {"x": normal(4, 8)})


def test_mean_and_deviation_of_a_normalization_may_be_read() -> None:
    net = model(
        """g (float[N,8] x) => (float[N,5] y, float[N,1] s) {
            n, m, d = LayerNormalization(x, g0, b0) s = Add(m, d) y = Gemm(n, w, c) }""",
        g0=positive(8),
        b0=normal(8),
        w=normal(8, 5),
        c=normal(5),
    )
    assert sites(net, ("y",))[0][0].shifts
    assert_same(net, smooth(net, {"n": drawn(8, 3)}), {"x": normal(4, 8)})  # they are those of x


def test_a_product_of_one_column_takes_no_shift_of_many() -> None:
    net = model(
        """g (float[N,8] x, float[N,8] u) => (float[N,8] y, float[N,5] z) {
            n = LayerNormalization(x, g0, b0) z = Gemm(n, w, c) k = Gemm(u, v, e) y = Add(k, n) }""",
        g0=positive(8),
        b0=normal(8),
        w=normal(8, 5),
        c=normal(5),
        v=normal(8, 1),
        e=normal(1),
    )
    (site,) = sites(net, ("z",))[0]
    assert not site.shifts
    assert_same(net, smooth(net, {"n": drawn(8, 3, shifts=False)}), {"x": normal(4, 8), "u": normal(4, 8, seed=1)})


@pytest.mark.parametrize(
    "reader",
    [
        "z = MatMul(x, n)",  # as a weight
        "z = Gemm(x, v, n)",  # as a bias
        "z = Gemm<transA=1>(n, v)",  # by columns
        "z = Gemm<alpha=0.5>(n, v)",
        "z = Gemm<beta=0.5>(n, v, e)",
        "z = Gemm(n, v, column)",  # a bias for each row
        "z = Reshape(n, rows) s = Gemm(z, v)",  # given to the caller
        "r = Reshape(n, rows) s = MatMul(r, v) z = Neg(r)",
        "s = Gemm(x, v, e) t = Neg(s) z = Add(s, n)",  # what it is added to is read elsewhere
        "s = MatMul(x, v) z = Add(s, n)",  # what it is added to has no bias
        "s = Gemm<alpha=0.5>(x, v, e) z = Add(s, n)",
        "s = Gemm(x, v, e) z = Sub(n, s)",
    ],
)
def test_other_readers_get_what_they_got_and_there_is_no_shift(reader: str) -> None:
    constants = {
        "v": normal(8, 8, seed=1),
        "e": normal(8, seed=1),
        "column": normal(8, 1),
        "rows": np.array([-1, 8]),
    }
    net = model(
        f"""g (float[8,8] x) => (float[8,5] y, float[A,B] z) {{
            n = LayerNormalization<axis=1>(x, g0, b0) y = Gemm(n, w, c) {reader} }}""",
        g0=positive(8),
        b0=normal(8),
        w=normal(8, 5),
        c=normal(5),
        **{
            name: value
            for name, value in constants.items()
            if name in reader.replace("(", " ").replace(",", "").replace(")", " ").split()
        },
    )
    net.graph.node(0).outputs[0].shape = ir.Shape([8, 8])
    (site,), _ = sites(net, ("y",))
    assert (site.products, site.shifts) == (("y",), False)
    assert_same(net, smooth(net, {"n": drawn(8, 3, shifts=False)}), {"x": normal(8, 8)})


def test_rows_of_another_length_have_other_channels() -> None:
    net = model(
        "g (float[N,8] x) => (float[A,5] y) { n = LayerNormalization(x, g0) r = Reshape(n, rows) y = MatMul(r, w) }",
        g0=positive(8),
        rows=np.array([-1, 4]),
        w=normal(4, 5),
    )
    found, refusals = sites(net, ("y",))
    assert (found, refusals["n"]) == ((), "its gain is float[8], not one float32 for each channel")


@pytest.mark.parametrize("factor", [positive(1), positive(4, 8)], ids=["one", "table"])
def test_a_product_with_anything_but_a_vector_is_no_producer(factor: np.ndarray) -> None:
    net = model("g (float[4,8] x) => (float[4,5] y) { n = Mul(x, f) y = MatMul(n, w) }", f=factor, w=normal(8, 5))
    assert sites(net, ("y",)) == ((), {"n": "it does not multiply by one constant a channel"})


def test_a_product_without_a_bias_takes_no_shift_and_channels_must_be_those_of_the_tensor() -> None:
    net = model(
        "g (float[N,8] x) => (float[N,5] y) { n = LayerNormalization(x, g0, b0) y = MatMul(n, w) }",
        g0=positive(8),
        b0=normal(8),
        w=normal(8, 5),
    )
    (site,), _ = sites(net, ("y",))
    assert not site.shifts
    assert smoothing(site, TensorStatistics.of(normal(4, 1), channel_axis=1), 0.5) is None


def test_parameters_shared_with_other_layers_stay_theirs() -> None:
    net = model(
        """g (float[N,8] x) => (float[N,5] y, float[N,5] z, float[N,8] v) {
            n = LayerNormalization(x, g0, b0) y = Gemm(n, w, c) v = LayerNormalization(x, g0, b0) u = Tanh(x)
            z = Gemm(u, w, c) }""",
        g0=positive(8),
        b0=normal(8),
        w=normal(8, 5),
        c=normal(5),
    )
    assert_same(net, smooth(net, {"n": drawn(8, 3)}), {"x": normal(4, 8)})


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        ("n = Tanh(x)", "Tanh has no gain that could take a scale"),
        ("n = Mul(x, x)", "it does not multiply by one constant a channel"),
        ("n = LayerNormalization(x, s, b0)", "gain 's' is a graph input"),
        ("n = LayerNormalization(x, g0, s)", "bias 's' is a graph input"),
        ("n = LayerNormalization<axis=0>(x, wide, wide)", "it normalizes more than the last axis"),
    ],
)
def test_other_producers_are_refused_with_the_reason(made: str, reason: str) -> None:
    used = {"g0": positive(8), "b0": normal(8), "wide": positive(4, 8)}
    net = model(
        f"g (float[4,8] x, float[8] s) => (float[4,5] y) {{ {made} y = Gemm(n, w, c) }}",
        w=normal(8, 5),
        c=normal(5),
        **{name: value for name, value in used.items() if name in made},
    )
    net.graph.node(0).outputs[0].shape = ir.Shape([4, 8])
    found, refusals = sites(net, ("y",))
    assert (found, refusals) == ((), {"n": reason})


def test_only_what_runs_in_8_bits_is_smoothed() -> None:
    assert sites(block(), ()) == ((), {})
