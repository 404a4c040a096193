"""Outlier channels beside the 8-bit product: exact in float, cheaper grids in int8, and which channels they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploycompress.calibration import collect
from deploycompress.calibration.statistics import TensorStatistics
from deploycompress.quantization.plan import channel_axes, plan, required_tensors
from deploycompress.quantization.qdq import emit_qdq
from deploycompress.quantization.side_path import outliers, rest, side_path, sites
from deploycompress.runtime.session import SessionConfig
from tests.quantization.encoders import GELU_OUTLIER, INNER, WIDTH, block, inputs
from tests.quantization.nets import TARGET, feeds, run, sqnr_db
from tests.zoo import model, normal


def seen_of(absmax: list[float], rows: int = 40) -> TensorStatistics:
    """Channels that reach these values once, and a tenth of them otherwise."""
    values = np.repeat(np.asarray([absmax], np.float32), rows, axis=0) / 10
    values[0] *= 10
    return TensorStatistics.of(values, channel_axis=1)


@settings(max_examples=20, deadline=None)
@given(st.sets(st.integers(0, INNER - 1), min_size=1, max_size=4), st.sampled_from(["o", "h"]))
def test_any_channels_leave_the_outputs_as_they_are(channels: set[int], product: str) -> None:
    net, feed = block(), inputs(1)[0]
    chosen = tuple(sorted(channel % WIDTH for channel in channels)) if product == "h" else tuple(sorted(channels))
    after = side_path(net, {product: tuple(dict.fromkeys(chosen))})
    expected, got = run(net, feed, "none"), run(after, feed, "none")
    for name, value in expected.items():
        # The sum of 96 products is taken in another order: a few roundings of float32 (2^-24), through one LayerNorm.
        np.testing.assert_allclose(got[name], value, rtol=0, atol=1e-5 * np.abs(value).max())


def test_the_float_product_joins_the_residual_and_the_rows_are_zero() -> None:
    after = side_path(block(), {"o": (GELU_OUTLIER, 3)})
    nodes = {str(node.outputs[0].name): node for node in after.graph}
    assert nodes["r"].op_type == "Sum"
    assert len(nodes["r"].inputs) == 3
    weight = nodes["o"].inputs[1].const_value.numpy()
    assert not weight[[GELU_OUTLIER, 3]].any()
    assert weight[[0, 1, 2]].all()


def test_without_a_residual_the_sum_stands_behind_the_product() -> None:
    net = model("g (float[N,8] x) => (float[N,5] y) { h = Tanh(x) o = MatMul(h, w) y = Relu(o) }", w=normal(8, 5))
    after = side_path(net, {"o": (2,)})
    assert [node.op_type for node in after.graph].count("Sum") == 1
    feed = feeds(net, 1)[0]
    np.testing.assert_allclose(run(after, feed, "none")["y"], run(net, feed, "none")["y"], atol=1e-6)


def test_products_of_one_tensor_share_its_columns() -> None:
    net = model(
        """g (float[N,8] x) => (float[N,5] y) {
            h = Tanh(x) a = Gemm<transB=1>(h, v, c) b = MatMul(h, w) y = Add(a, b) }""",
        w=normal(8, 5),
        v=normal(5, 8),
        c=normal(5),
    )
    after = side_path(net, {"a": (2,), "b": (2,)})
    assert [node.op_type for node in after.graph].count("Gather") == 1
    feed = feeds(net, 1)[0]
    np.testing.assert_allclose(run(after, feed, "none")["y"], run(net, feed, "none")["y"], atol=1e-6)


@pytest.mark.parametrize(
    ("absmax", "expected"),
    [
        ([1.0] * 64, ()),
        ([*[1.0] * 63, 1.59], ()),
        ([9.0, *[1.0] * 63], (0,)),
        ([*[1.0] * 30, 9.0, *[1.0] * 32, 2.0], (30, 63)),
        ([*[1.0] * 60, *[9.0] * 4], (60, 61, 62, 63)),
        ([*[1.0] * 59, *[9.0] * 5], ()),  # more than four are no outliers
        ([9.0, *[1.0] * 46], ()),  # too few channels to say what is usual
        ([9.0, *[1.0] * 47], (0,)),
        ([1.8, *[1.2] * 11, *[1.0] * 52], ()),  # the twelfth is what is usual: 1.2
    ],
)
def test_outliers_reach_further_than_the_rest(absmax: list[float], expected: tuple[int, ...]) -> None:
    assert outliers(seen_of(absmax)) == expected


def test_channels_that_are_not_known_have_no_outliers() -> None:
    assert outliers(TensorStatistics.of(normal(4, 99))) == ()


def test_the_rest_is_what_the_other_channels_hold() -> None:
    values = normal(200, 64)
    values[:, 9] *= 30
    found = rest(TensorStatistics.of(values, channel_axis=1), (9,))
    alone = TensorStatistics.of(np.delete(values, 9, axis=1))
    assert (found.low, found.high) == (alone.low, alone.high)
    inside = (values[:, 9] >= alone.low) & (values[:, 9] <= alone.high)
    # Elements of the outlier within the range stay; a bin at either end may hold a few just outside.
    assert 0 <= found.histogram.counts.sum() - alone.histogram.counts.sum() - inside.sum() <= 3


def test_sites_are_8_bit_products_of_computed_tensors() -> None:
    assert sites(block(), ("h", "o", "z")) == {"h": "n", "o": "a"}  # z is given to the caller
    assert sites(block(), ("o",)) == {"o": "a"}
    net = model("g (float[N,8] x) => (float[N,5] y) { o = MatMul(x, w) y = Relu(o) }", w=normal(8, 5))
    assert sites(net, ("o",)) == {}  # x may be anything


def test_the_quantized_block_gains_decibels_and_the_side_stays_float() -> None:
    net = block(norm_outlier=1.0, gelu_outlier=30.0)
    chosen = {"o": (GELU_OUTLIER,)}
    after = side_path(net, chosen)

    axes, config = channel_axes(net), SessionConfig(threads=1)
    seen = collect(after, required_tensors(after, TARGET), inputs(), config=config, channel_axes=axes)
    assert outliers(seen["a"]) == chosen["o"]
    narrowed = replace(seen, tensors={**seen.tensors, "a": rest(seen["a"], chosen["o"])})
    made = plan(after, TARGET, narrowed)
    assert made.nodes["o_side"].reason == "it sums 1 products; its input would cost more to convert"
    feed = {"x": normal(64, WIDTH, seed=7)}
    better = sqnr_db(run(net, feed)["z"], run(emit_qdq(after, made), feed)["z"])
    plain = sqnr_db(run(net, feed)["z"], run(emit_qdq(net, plan(net, TARGET, seen)), feed)["z"])
    assert better > plain + 6
