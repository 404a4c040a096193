"""The shift against ONNX Runtime's own convolutions, and what correcting it does to the mean of an output."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycompress import model as models
from deploycompress.calibration import collect
from deploycompress.calibration.statistics import TensorStatistics
from deploycompress.quantization.bias_correction import convolution_shift, product_shift
from deploycompress.quantization.plan import channel_axes, plan, required_tensors
from deploycompress.quantization.qdq import emit_qdq
from deploycompress.quantization.spec import QuantPlan
from deploycompress.runtime.session import Session, SessionConfig
from tests.quantization.nets import TARGET, feeds, run
from tests.zoo import model, normal


@given(
    groups=st.sampled_from([1, 2, 4]), per_group=st.integers(1, 3), kernel=st.integers(1, 3), seed=st.integers(0, 99)
)
def test_the_shift_of_a_convolution_is_the_difference_on_constant_inputs(
    groups: int, per_group: int, kernel: int, seed: int
) -> None:
    weight = normal(8, per_group, kernel, kernel, seed=seed)
    rounded = np.round(weight, 1)
    channels = groups * per_group
    mean = normal(channels, seed=seed)
    text = f"g (float[1,{channels},5,5] x) => (float[1,8,M,K] y) {{ y = Conv<group={groups}>(x, w) }}"
    constant = np.broadcast_to(mean[None, :, None, None], (1, channels, 5, 5)).astype(np.float32)
    outputs = []
    for each in (weight, rounded):
        session = Session(models.serialize(model(text, w=each)), SessionConfig(threads=1))
        outputs.append(session.run({"x": constant})["y"][0, :, 0, 0].astype(np.float64))
    # Two float32 sums of up to 27 products of size one.
    np.testing.assert_allclose(convolution_shift(weight, rounded, mean), outputs[0] - outputs[1], atol=1e-4)


def test_the_shift_of_a_product_is_the_difference_of_the_products() -> None:
    weight, mean = normal(8, 5).astype(np.float64), normal(8).astype(np.float64)
    rounded = np.round(weight, 1)
    np.testing.assert_allclose(product_shift(weight, rounded, mean), mean @ weight - mean @ rounded, atol=1e-12)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", ["Conv", "Gemm"])
def test_a_corrected_layer_keeps_the_mean_of_its_output(kind: str, bias: bool) -> None:
    # Inputs far from zero, as behind a Relu, and one weight so large that the others are rounded coarsely.
    shape, text = (8, 4), "float[2,8] x) => (float[2,4] y) { p = Relu(x) y = Gemm"
    if kind == "Conv":
        shape, text = (4, 8, 1, 1), "float[2,8,6,6] x) => (float[2,4,6,6] y) { p = Relu(x) y = Conv"
    weight = normal(*shape)
    weight.flat[0] = 200.0
    weights = {"w": weight} | ({"b": normal(4)} if bias else {})
    net = model(f"g ({text}(p, w{', b' if bias else ''}) }}", **weights)
    inputs = [{"x": np.abs(feed["x"]) + 3} for feed in feeds(net, 40)]
    tensors = required_tensors(net, TARGET)
    found = collect(net, tensors, inputs, channel_axes=channel_axes(net), config=SessionConfig(threads=1))
    corrected = plan(net, TARGET, found)
    axes = (0, 2, 3) if kind == "Conv" else (0,)

    def shift(made: QuantPlan) -> float:
        int8 = emit_qdq(net, made)
        errors = [run(int8, feed, "none")["y"].astype(np.float64) - run(net, feed)["y"] for feed in inputs]
        return float(np.abs(np.mean([error.mean(axis=axes) for error in errors], axis=0)).max())

    # What is left comes from rounding activations, a fraction of what rounding this weight does to the mean.
    assert shift(corrected) < 0.2 * shift(replace(corrected, input_means={}))


@given(cut=st.integers(1, 5))
def test_channel_means_do_not_depend_on_the_split(cut: int) -> None:
    values = normal(6, 3, 4, 4)
    whole = TensorStatistics.of(values, channel_axis=1)
    parts = [TensorStatistics.of(part, channel_axis=1) for part in (values[:cut], values[cut:])]
    merged = parts[0].merge(parts[1])
    assert whole.channel_means is not None
    assert merged.channel_means is not None
    np.testing.assert_allclose(merged.channel_means, whole.channel_means, rtol=1e-12)
    np.testing.assert_allclose(whole.channel_means, values.astype(np.float64).mean(axis=(0, 2, 3)), rtol=1e-12)


def test_channels_that_change_from_sample_to_sample_have_no_mean() -> None:
    a, b = (TensorStatistics.of(normal(1, channels, 2, 2), channel_axis=1) for channels in (3, 4))
    assert a.merge(b).channel_means is None
