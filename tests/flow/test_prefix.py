"""Which first layers stay float: the choice against brute force, and the tags against what ONNX Runtime executes."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from deploycompress.flow.executed import named
from deploycompress.flow.prefix import best_prefix, layer_times_us, tagged, tags
from deploycompress.runtime.session import SessionConfig
from tests.quantization.nets import quantized
from tests.zoo import model, normal

TIMES = st.lists(st.tuples(st.integers(1, 50), st.integers(1, 50)), min_size=1, max_size=8)


@given(TIMES)
def test_the_prefix_minimises_the_sum_of_times(times: list[tuple[int, int]]) -> None:
    layers = [str(i) for i in range(len(times))]
    float_us = {name: float(t[0]) for name, t in zip(layers, times, strict=True)}
    int8_us = {name: float(t[1]) for name, t in zip(layers, times, strict=True)}
    totals = [sum(t[0] for t in times[:k]) + sum(t[1] for t in times[k:]) for k in range(len(times) + 1)]
    chosen = best_prefix(layers, float_us, int8_us)
    assert totals[chosen] == min(totals)


def test_nothing_stays_float_behind_a_layer_without_a_time() -> None:
    assert best_prefix(["a", "b"], {"b": 1.0}, {"a": 5.0, "b": 5.0}) == 0


def test_every_layer_is_timed_in_both_forms_whatever_fuses() -> None:
    net = model(
        """g (float[1,3,16,16] x) => (float[1,5] y) {
            c0 = Conv<pads=[1,1,1,1]>(x, w0, b0)  r0 = Relu(c0)
            c1 = Conv<pads=[1,1,1,1]>(r0, w1, b1)  r1 = Clip(c1, low, high)
            c2 = Conv(r1, w2)  p = GlobalAveragePool(c2)  f = Flatten(p)  y = Gemm(f, w3, b3) }""",
        w0=normal(16, 3, 3, 3),
        b0=normal(16),
        w1=normal(16, 16, 3, 3),
        b1=normal(16),
        w2=normal(8, 16, 1, 1),
        w3=normal(8, 5),
        b3=normal(5),
        low=np.float32(0),
        high=np.float32(6),
    )
    feed, config = {"x": normal(1, 3, 16, 16)}, SessionConfig(threads=1)
    net = named(net)
    expected = {f"weighted{i:06d}" for i in range(4)}
    assert layer_times_us(tagged(net, tags(net), tensors=True), feed, config).keys() == expected
    assert layer_times_us(tagged(quantized(net)[1], tags(net)), feed, config).keys() == expected
