"""AWQ: exponent 0 is rounding to nearest, the float function stays, important channels gain; refusals are told."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from deploycompress.calibration import collect
from deploycompress.quantization.awq import EXPONENTS, best_scale, channel_scale, rescaled
from deploycompress.quantization.blocks import quantize_blocks
from deploycompress.quantization.plan import layer_inputs
from deploycompress.quantization.rounding import rounded_weights
from deploycompress.quantization.spec import WeightSpec
from deploycompress.quantization.weight_only import emit_weight_only, plan_weight_only
from deploycompress.runtime.session import Session, SessionConfig
from tests.passes.running import outputs
from tests.quantization.layers import correlated
from tests.quantization.test_weight_only import EXACT, TARGET
from tests.zoo import model, normal, positive

SPEC = WeightSpec(4, 32, symmetric=False, rounding="awq")
SPREAD = np.geomspace(0.05, 8.0, 64)


def normalized_net() -> ir.Model:
    """LayerNormalization with channels of very different size, read by two products; then one that cannot be scaled."""
    return model(
        """g (float[N,64] x) => (float[N,32] y) {
            n = LayerNormalization(x, g, b)
            q = MatMul(n, wq)
            k = MatMul(n, wk)
            s = Sigmoid(q)
            p = Mul(s, k)
            y = MatMul(p, wo)
        }""",
        opset=21,
        ir_version=10,
        g=(positive(64) * SPREAD).astype(np.float32),
        b=normal(64),
        wq=normal(64, 64, seed=1),
        wk=normal(64, 64, seed=2),
        wo=normal(64, 32, seed=3),
    )


def test_exponent_zero_is_no_scale_and_the_mean_of_the_ends_is_one() -> None:
    gram = np.diag(SPREAD**2)
    np.testing.assert_array_equal(channel_scale(gram, 0.0), np.ones(64))
    scale = channel_scale(gram, 0.5)
    np.testing.assert_allclose(scale.max() * scale.min(), 1.0, rtol=1e-12)
    np.testing.assert_allclose(scale**2 / (scale**2)[0], SPREAD / SPREAD[0], rtol=1e-9)
    np.testing.assert_array_equal(channel_scale(np.zeros((3, 3)), 0.7), np.ones(3))


def test_the_best_exponent_has_the_least_output_error_of_the_whole_grid() -> None:
    layer = correlated(0, 20, 64)
    rows = layer.rows * SPREAD
    weights = [layer.weight.T.astype(np.float32), normal(64, 9)]
    scale, exponent = best_scale([(weight, SPEC) for weight in weights], rows.T @ rows)

    def error(r: float) -> float:
        s = channel_scale(rows.T @ rows, r)[:, None]
        parts = [w - quantize_blocks((w * s).astype(np.float32), SPEC).dequantize() / s for w in weights]
        return float(sum(np.linalg.norm(rows @ part) ** 2 for part in parts))

    errors = [error(r) for r in EXPONENTS]
    assert EXPONENTS[int(np.argmin(errors))] == exponent
    np.testing.assert_allclose(scale, channel_scale(rows.T @ rows, exponent))
    assert min(errors) < 0.7 * errors[0]  # channels differ 160-fold in size


def test_rescaling_changes_no_output_and_moves_the_moments_along() -> None:
    net = normalized_net()
    feeds = [{"x": normal(30, 64, seed=seed)} for seed in range(3)]
    config = SessionConfig(threads=1)
    grams = dict(collect(net, [], feeds, grams=layer_inputs(net), config=config).grams)
    plan = plan_weight_only(net, TARGET, SPEC)
    after, moved, words = rescaled(net, plan, grams, {})
    # One more rounding a factor, and sums of 64 products: float32.
    np.testing.assert_allclose(outputs(after, feeds[0])["y"], outputs(net, feeds[0])["y"], rtol=2e-4, atol=2e-3)
    again = collect(after, [], feeds, grams=layer_inputs(after), config=config).grams
    for layer, gram in again.items():
        np.testing.assert_allclose(moved[layer].products, gram.products, rtol=1e-4, atol=1e-3)
    assert words["q"].startswith("input channels rescaled with exponent 0.")
    assert words["q"] == words["k"]
    assert words["y"].startswith("not rescaled: ")
    assert set(net.graph.initializers) == {"g", "b", "wq", "wk", "wo"}


def test_the_moments_behind_a_reshape_move_too() -> None:
    net = model(
        """g (float[2,15,64] x) => (float[30,32] q, float[2,15,32] k) {
            n = LayerNormalization(x, g, b) r = Reshape(n, rows) q = MatMul(r, wq) k = MatMul(n, wk) }""",
        opset=21,
        ir_version=10,
        g=(positive(64) * SPREAD).astype(np.float32),
        b=normal(64),
        rows=np.array([-1, 64]),
        wq=normal(64, 32, seed=1),
        wk=normal(64, 32, seed=2),
    )
    feeds, config = [{"x": normal(2, 15, 64)}], SessionConfig(threads=1)
    grams = dict(collect(net, [], feeds, grams=layer_inputs(net), config=config).grams)
    after, moved, _ = rescaled(net, plan_weight_only(net, TARGET, SPEC), grams, {})
    again = collect(after, [], feeds, grams=layer_inputs(after), config=config).grams
    assert {layer.tensor for layer in again} == {"r", "n"}
    for layer, gram in again.items():  # float32 activations behind float64 sums
        np.testing.assert_allclose(moved[layer].products, gram.products, rtol=1e-4, atol=1e-3)


def test_rescaled_weights_lose_less_than_rounded_ones() -> None:
    net = normalized_net()
    feeds = [{"x": normal(30, 64, seed=seed)} for seed in range(3)]
    grams = dict(collect(net, [], feeds, grams=layer_inputs(net), config=SessionConfig(threads=1)).grams)
    plan = plan_weight_only(net, TARGET, SPEC)
    after, moved, _ = rescaled(net, plan, grams, {})
    awq = emit_weight_only(after, plan, rounded_weights(after, plan, moved, {}))
    plain = emit_weight_only(net, plan)
    feed = {"x": normal(200, 64, seed=9)}
    expected = outputs(net, feed)["y"]

    def error(packed: ir.Model) -> float:
        got = Session(ir.to_proto(packed).SerializeToString(), EXACT).run(feed)["y"]
        return float(np.linalg.norm(got - expected))

    assert error(awq) < 0.9 * error(plain)


def test_a_product_of_a_model_input_is_told_why_it_stays() -> None:
    net = model("g (float[N,64] x) => (float[N,32] y) { y = MatMul(x, w) }", opset=21, ir_version=10, w=normal(64, 32))
    plan = plan_weight_only(net, TARGET, SPEC)
    feeds = [{"x": normal(30, 64)}]
    grams = dict(collect(net, [], feeds, grams=layer_inputs(net), config=SessionConfig(threads=1)).grams)
    after, _, words = rescaled(net, plan, grams, {})
    assert after is net
    assert words == {"y": "not rescaled: its input is an input of the model"}


def test_layers_of_different_width_share_a_scale_that_is_searched_once() -> None:
    net, known = normalized_net(), {}  # type: ignore[var-annotated]
    feeds = [{"x": normal(30, 64)}]
    grams = dict(collect(net, [], feeds, grams=layer_inputs(net), config=SessionConfig(threads=1)).grams)
    rescaled(net, plan_weight_only(net, TARGET, SPEC), grams, known)
    wide = WeightSpec(8, SPEC.block)
    mixed = plan_weight_only(net, TARGET, SPEC, promoted={"q": wide})
    rescaled(net, mixed, grams, known)
    alike, different = known
    assert [spec.bits for _, spec in alike] == [SPEC.bits, SPEC.bits]
    assert {name: spec.bits for name, spec in different} == {"q": 8, "k": SPEC.bits}
    known[different] = (np.ones(64), 0.0)  # what is known is not searched again
    assert rescaled(net, mixed, grams, known)[2]["q"] == "input channels rescaled with exponent 0.00"
