"""Equalized nets compute what they computed, and lose less with one weight scale a tensor."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycompress import model as models
from deploycompress.quantization.equalization import equalize
from tests.quantization.nets import TARGET, feeds, quantized, run, sqnr_db
from tests.zoo import model, normal


def uneven(channels: int, seed: int) -> np.ndarray:
    """Factors of channels, 1/30 .. 30."""
    return np.float32(30.0 ** np.random.default_rng(seed).uniform(-1, 1, channels))


def chain(between: str = "Relu(a)", groups: int = 1, seed: int = 0, bias: bool = True) -> ir.Model:
    """Two convolutions whose eight channels between them differ a thousandfold."""
    factors = uneven(8, seed)
    front = normal(8, 3, 3, 3, seed=seed) * factors.reshape(8, 1, 1, 1)
    behind = normal(8, 8 // groups, 3, 3, seed=seed + 1) / 8
    by_group = behind.reshape(groups, 8 // groups, 8 // groups, 9) / factors.reshape(groups, 1, -1, 1)
    weights = {"w": front, "v": by_group.reshape(behind.shape)}
    return model(
        f"""g (float[N,3,9,9] x) => (float[N,8,H,W] y) {{
            a = Conv(x, w{", b" if bias else ""})  r = {between}  y = Conv<group={groups}>(r, v, e) }}""",
        **(weights | ({"b": normal(8, seed=seed) * factors} if bias else {}) | {"e": normal(8, seed=seed)}),
    )


BETWEEN = st.sampled_from(
    ["Relu(a)", "LeakyRelu(a)", "MaxPool<kernel_shape=[2,2]>(a)", "AveragePool<kernel_shape=[2,2]>(a)", "Clip(a)"]
)


@given(between=BETWEEN, groups=st.sampled_from([1, 2, 8]), bias=st.booleans(), seed=st.integers(0, 999))
def test_outputs_stay_and_ranges_become_even(between: str, groups: int, bias: bool, seed: int) -> None:
    net = chain(between, groups, seed, bias)
    before = models.serialize(net)
    made = equalize(net)
    feed = feeds(net)[0]
    expected, found = run(net, feed)["y"], run(made.model, feed)["y"]
    # Rounding of two layers of float32 products, relative to the largest output.
    assert np.abs(expected - found).max() <= 1e-5 * np.abs(expected).max()
    front = np.abs(made.model.graph.initializers["w"].const_value.numpy()).max(axis=(1, 2, 3))
    behind = made.model.graph.initializers["v"].const_value.numpy().reshape(groups, 8 // groups, 8 // groups, -1)
    np.testing.assert_allclose(front, np.abs(behind).max(axis=(1, 3)).ravel(), rtol=1e-2)  # the optimum of the paper
    assert models.serialize(net) == before


def test_even_ranges_are_worth_decibels_with_one_scale_a_tensor() -> None:
    per_tensor = TARGET.model_copy(update={"quant": TARGET.quant.model_copy(update={"per_channel": False})})
    net = chain()
    feed = feeds(net)[3]
    reference = run(net, feed)["y"]
    plain, even = (
        sqnr_db(reference, run(quantized(each, per_tensor)[1], feed)["y"]) for each in (net, equalize(net).model)
    )
    assert even > plain + 6  # channels a thousandfold apart leave most of them a handful of codes


def test_layers_in_a_row_are_evened_together() -> None:
    net = model(
        """g (float[1,3,9,9] x) => (float[1,4,H,W] y) {
            a = Conv(x, u)  r = Relu(a)  b = Conv<group=4>(r, v)  s = Relu(b)  y = Conv(s, w) }""",
        u=normal(4, 3, 1, 1) * uneven(4, 1).reshape(4, 1, 1, 1),
        v=normal(4, 1, 3, 3) * uneven(4, 2).reshape(4, 1, 1, 1),
        w=normal(4, 4, 1, 1) * uneven(4, 3).reshape(1, 4, 1, 1),
    )
    made = equalize(net)
    assert set(made.scales) == {"a", "b"}
    held = {name: np.abs(value.const_value.numpy()) for name, value in made.model.graph.initializers.items()}
    middle = held["v"].max(axis=(1, 2, 3))
    np.testing.assert_allclose(held["u"].max(axis=(1, 2, 3)), middle, rtol=1e-2)
    np.testing.assert_allclose(held["w"].max(axis=(0, 2, 3)), middle, rtol=1e-2)


def test_half_precision_stays_half_precision() -> None:
    weights = {"w": normal(8, 3, 3, 3), "b": normal(8), "v": normal(8, 8, 3, 3) / 8}
    net = model(
        "g (float16[1,3,9,9] x) => (float16[1,8,H,W] y) { a = Conv(x, w, b)  r = Relu(a)  y = Conv(r, v) }",
        **{
            name: (each * (uneven(8, 1).reshape(-1, *[1] * (each.ndim - 1)))).astype(np.float16)
            for name, each in weights.items()
        },
    )
    feed = {"x": normal(1, 3, 9, 9).astype(np.float16)}
    expected, found = run(net, feed)["y"], run(equalize(net).model, feed)["y"]
    # Two layers of products of numbers rounded to 11 bits, relative to the largest output.
    assert np.abs(expected.astype(np.float64) - found).max() <= 4 * 2**-11 * np.abs(expected).max()


REFUSED = {
    "r = Clip(a, zero, six) y = Conv(r, v)": "the Clip behind it has the bounds 0 and 6, which do not scale with the",
    "r = Clip(a, m, six) y = Conv(r, v)": "the bounds of the Clip behind it are computed at run time",
    "r = Relu(a) z = Neg(r) y = Conv(r, v)": "'r' has several readers",
    "r = Relu(a) s = Conv(r, v) y = Conv(s, v)": "weight or bias 'v' is shared",
}


@pytest.mark.parametrize("body", REFUSED)
def test_what_does_not_scale_is_refused_and_untouched(body: str) -> None:
    net = model(
        f"g (float[1,3,9,9] x, float m) => (float[1,8,H,W] y) {{ a = Conv(x, w) {body} }}",
        w=normal(8, 3, 3, 3),
        v=normal(8, 8, 3, 3),
        zero=np.float32(0),
        six=np.float32(6),
    )
    made = equalize(net)
    assert made.scales == {}
    assert made.refusals[0][0] == "a"
    assert made.refusals[0][1].startswith(REFUSED[body])


def test_channels_that_one_side_does_not_use_stay_as_they_are() -> None:
    net = chain(seed=3)
    for name, place in (("w", (0,)), ("v", (slice(None), 1))):
        value = net.graph.initializers[name]
        assert value.const_value is not None
        data = value.const_value.numpy().copy()
        data[place] = 0
        value.const_value = ir.tensor(data, name=name)
    made = equalize(net)
    np.testing.assert_array_equal(made.scales["a"][:2], 1.0)
    feed = feeds(net)[0]
    expected, found = run(net, feed)["y"], run(made.model, feed)["y"]
    # Rounding of two layers of float32 products, relative to the largest output.
    assert np.abs(expected - found).max() <= 1e-5 * np.abs(expected).max()


def test_what_does_not_scale_with_its_input_parts_two_convolutions() -> None:
    made = equalize(chain("Sigmoid(a)"))
    assert (made.scales, made.refusals) == ({}, ())
