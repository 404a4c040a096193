"""Where the data first meets a constant of the model, and the ratio between the two."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from deploycompress.flow.data_scale import Meeting, Moments, factors, meetings
from tests.zoo import model, normal


def met(text: str, **weights: np.ndarray) -> list[tuple[str, str, int | None, float]]:
    net = model(text, **weights)
    return [(each.source, each.tensor, each.axis, round(each.expected, 4)) for each in meetings(net)]


def test_bias_of_the_first_layer_is_met_behind_whatever_keeps_the_scale() -> None:
    found = met(
        "g (float[N,3,8,8] x) => (float[N,4,4,4] y) {"
        " p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(x)  s = Mul(p, k)  h = Conv(s, w)  r = Relu(h)"
        " y = Conv(r, v, b) }",
        k=np.float32(2),
        w=normal(4, 3, 1, 1),
        v=normal(4, 4, 1, 1),
        b=np.float32([3, -4, 0, 0]),
    )
    assert found == [("x", "y", 1, 2.5)]  # sqrt((9 + 16) / 4)


def test_gamma_is_met_in_a_batch_normalization() -> None:
    ones = np.ones(4, np.float32)
    found = met(
        "g (float[N,3,8,8] x) => (float[N,4,8,8] y) { h = Conv(x, w) y = BatchNormalization(h, g, b, m, v) }",
        w=normal(4, 3, 1, 1),
        g=2 * ones,
        b=ones,
        m=ones,
        v=ones,
    )
    assert found == [("x", "y", 1, 2.0)]


def test_constant_that_is_subtracted_from_the_input_is_met_first() -> None:
    found = met(
        "g (float[N,3,8,8] x) => (float[N,4,8,8] y) { c = Sub(x, m) s = Div(c, d) y = Conv(s, w, b) }",
        m=np.float32([120, 120, 120]).reshape(3, 1, 1),
        d=np.float32(60),
        w=normal(4, 3, 1, 1),
        b=normal(4),
    )
    assert found == [("x", "c", -3, 120.0)]


def test_sum_behind_a_product_without_bias_is_met() -> None:
    found = met(
        "g (float[N,8] x) => (float[N,4] y) { h = MatMul(x, w) y = Add(h, b) }", w=normal(8, 4), b=np.float32([2] * 4)
    )
    assert found == [("x", "y", -1, 2.0)]


@pytest.mark.parametrize(
    "body",
    ["e = Exp(x) y = Add(e, b)", "y = Add(x, eps)", "n = Softmax(x) y = Add(n, b)", "d = Div(one, x) y = Add(d, b)"],
)
def test_nothing_is_met_behind_what_loses_the_scale_and_in_an_epsilon(body: str) -> None:
    weights = {"b": normal(4), "eps": np.float32(1e-6), "one": np.float32(1)}
    used = {name: value for name, value in weights.items() if name in body}
    assert met(f"g (float[N,4] x) => (float[N,4] y) {{ {body} }}", **used) == []


def test_token_ids_meet_nothing() -> None:
    text = "g (int64[N,S] ids) => (float[N,S,4] y) { e = Gather(table, ids) y = Add(e, b) }"
    assert met(text, table=normal(9, 4), b=normal(4)) == []


def test_ratio_is_the_deviation_within_channels_over_the_constant() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(0, [[[1.0]], [[3.0]]], (64, 2, 5, 7)) + np.array([100.0, -50.0])[:, None, None]
    moments = Moments(1)
    for part in np.split(values.astype(np.float32), 8):
        moments.add(part)
    expected = np.sqrt(values.astype(np.float64).var(axis=(0, 2, 3)).mean())
    assert moments.deviation == pytest.approx(expected, rel=1e-4)  # float32 input, offset of 100
    found = list(factors([Meeting("x", "t", 1, 0.5)], {"t": moments}))
    assert found[0][:2] == ("x", pytest.approx(2 * expected, rel=1e-4))


def test_inputs_k_times_as_large_give_k_times_the_ratio() -> None:
    one, many = Moments(-1), Moments(-1)
    values = normal(32, 6)
    one.add(values)
    many.add(200 * values)
    assert many.deviation == pytest.approx(200 * one.deviation, rel=1e-5)


def test_graph_is_not_changed() -> None:
    net = model("g (float[N,8] x) => (float[N,4] y) { h = MatMul(x, w) y = Add(h, b) }", w=normal(8, 4), b=normal(4))
    before = ir.to_proto(net).SerializeToString()
    meetings(net)
    assert ir.to_proto(net).SerializeToString() == before
