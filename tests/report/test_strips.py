from __future__ import annotations

import math

import pytest

from deploycompress.records.measured import LayerError, LayerFigure
from deploycompress.report import strips


def test_heights_are_shares_of_the_longest_and_tips_say_what_was_measured() -> None:
    layers = (
        LayerFigure("conv", "QLinearConv", "int8", 300.0, 1_000_000, 0.42),
        LayerFigure("dq", "DequantizeLinear", "conversion", 75.0),
        LayerFigure("fc", "MatMul", "float", 125.0, 2000, 0.1, "its weight is stored as float"),
    )
    found = strips.times(layers)
    assert [(stick.height, stick.kind) for stick in found] == [
        (100.0, "int8"),
        (25.0, "conversion"),
        (pytest.approx(41.67, abs=0.01), "float"),
    ]
    assert found[0].tip == "conv · QLinearConv, int8: 0.300 ms, 60.0 % of the run; 42 % of the peak"
    assert found[2].tip.endswith("its weight is stored as float")
    assert strips.times(()) == ()


def test_low_bars_are_layers_far_from_the_baseline() -> None:
    layers = (LayerError("a", "Conv", 20.0), LayerError("b", "Conv", math.inf), LayerError("c", "Gemm", -3.0))
    found = strips.errors(layers)
    assert [stick.height for stick in found] == [50.0, 100.0, 0.0]  # of forty decibels at least
    assert [stick.tip for stick in found] == ["a · Conv, 20.0 dB", "b · Conv, equal", "c · Gemm, -3.0 dB"]
    assert strips.errors((LayerError("a", "Conv", 60.0), LayerError("b", "Conv", 30.0)))[1].height == 50.0
