"""Which layers go back to float, from times made up here: fast and slow layers, and what lies between them."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from deploycompress.flow.executed import named
from deploycompress.flow.layer_costs import Costs
from deploycompress.flow.layer_times import LayerTimes, tags
from tests.quantization.nets import quantized
from tests.zoo import model, normal

LAYERS = 4


def chain() -> ir.Model:
    """Four convolutions in a row; the tensors between them are equally large."""
    lines = "\n".join(f"c{i} = Conv<pads=[1,1,1,1]>({'x' if i == 0 else f'c{i - 1}'}, w)" for i in range(LAYERS - 1))
    last = f"y = Conv<pads=[1,1,1,1]>(c{LAYERS - 2}, w)"
    return named(model(f"g (float[1,8,8,8] x) => (float[1,8,8,8] y) {{ {lines} {last} }}", w=normal(8, 8, 3, 3) / 6))


def released(float_us: list[float], int8_us: list[float], conversion_us: float) -> tuple[list[int], float]:
    """Numbers of the layers that go back, and the promised gain."""
    net = chain()
    plan, _ = quantized(net)
    tag_of = tags(net)
    order = list(tag_of.values())
    elements = dict.fromkeys(order, 512)
    before = LayerTimes(dict(zip(order, float_us, strict=True)), elements)
    after = LayerTimes(
        dict(zip(order, int8_us, strict=True)), elements, {"x_quantized/QuantizeLinear": (conversion_us, 512)}
    )
    found, gain = Costs(net, plan, before, after, tag_of).cheapest()
    names = [node.outputs[0].name for node in net.graph]
    return sorted(names.index(name) for name in found), gain


@pytest.mark.parametrize(
    ("float_us", "int8_us", "conversion_us", "expected", "conversions_saved"),
    [
        ([50, 50, 50, 50], [20, 20, 20, 20], 5, [], 0),
        ([20, 50, 50, 50], [60, 20, 20, 20], 5, [0], 0),  # the conversion moves behind it
        ([20, 30, 50, 50], [60, 50, 20, 20], 5, [0, 1], 0),
        ([50, 20, 50, 50], [20, 60, 20, 20], 5, [1], -2),  # 40 us for two conversions more
        ([50, 20, 50, 50], [20, 28, 20, 20], 5, [], 0),  # 8 us are less than those
        ([50, 50, 50, 20], [20, 20, 20, 60], 5, [3], 0),
        ([20, 22, 20, 20], [60, 20, 60, 60], 5, [0, 1, 2, 3], 2),  # alone in 8 bits it would pay for two
        ([20, 20.5, 20, 20], [20, 21, 20, 20], 0.1, [], 0),  # within the noise of a profile
    ],
)
def test_layers_go_back_where_that_is_cheaper_with_its_conversions(
    float_us: list[float], int8_us: list[float], conversion_us: float, expected: list[int], conversions_saved: int
) -> None:
    found, gain = released(float_us, int8_us, conversion_us)
    assert found == expected
    assert gain == pytest.approx(sum(int8_us[i] - float_us[i] for i in expected) + conversions_saved * conversion_us)


def test_a_layer_without_a_time_stays() -> None:
    net = chain()
    plan, _ = quantized(net)
    tag_of = tags(net)
    order = list(tag_of.values())
    times = LayerTimes(dict.fromkeys(order[1:], 10.0), dict.fromkeys(order, 512))
    slow = LayerTimes(dict.fromkeys(order, 100.0), dict.fromkeys(order, 512))
    found, _ = Costs(net, plan, times, slow, tag_of).cheapest()
    assert set(found) == {"c1", "c2", "y"}
    assert found["c1"].reason == "measured: 10 us float, 100 us int8 without the conversions that it needs"


def with_hard_swish() -> tuple[ir.Model, dict[str, str]]:
    """Two convolutions with an activation between them that has no 8-bit kernel; tag by first output."""
    net = named(
        model(
            """g (float[1,8,8,8] x) => (float[1,8,8,8] y) {
                a = Conv<pads=[1,1,1,1]>(x, w)  h = HardSwish(a)  y = Conv<pads=[1,1,1,1]>(h, w) }""",
            w=normal(8, 8, 3, 3) / 6,
        )
    )
    tag_of = tags(net)
    return net, {str(node.outputs[0].name): tag_of[str(node.name)] for node in net.graph}


@pytest.mark.parametrize(("apart_us", "expected"), [(40.0, {"a"}), (10.0, set())])
def test_an_activation_that_fuses_in_float_alone_is_paid_for_by_the_layer_beside_it(
    apart_us: float, expected: set[str]
) -> None:
    net, tag = with_hard_swish()
    plan, _ = quantized(net)
    before = LayerTimes({tag["a"]: 50.0, tag["y"]: 50.0})
    after = LayerTimes({tag["a"]: 30.0, tag["h"]: apart_us, tag["y"]: 20.0})
    found, _ = Costs(net, plan, before, after, tags(net)).cheapest()
    assert set(found) == expected


def test_a_node_that_takes_as_long_in_both_graphs_moves_no_layer() -> None:
    net, tag = with_hard_swish()
    plan, _ = quantized(net)
    before = LayerTimes({tag["a"]: 50.0, tag["h"]: 400.0, tag["y"]: 50.0})
    after = LayerTimes({tag["a"]: 30.0, tag["h"]: 460.0, tag["y"]: 20.0})
    assert Costs(net, plan, before, after, tags(net)).cheapest() == ({}, 0.0)


@pytest.mark.parametrize(("layout_us", "expected"), [(0.0, {"c1"}), (20.0, set())])
def test_between_convolutions_of_different_form_the_layout_changes_too(layout_us: float, expected: set[str]) -> None:
    net = chain()
    plan, _ = quantized(net)
    order = list(tags(net).values())
    elements, reorder = dict.fromkeys(order, 512), {"ReorderOutput": (layout_us, 512)}
    before = LayerTimes(dict(zip(order, [50.0, 20.0, 50.0, 50.0], strict=True)), elements, {}, reorder)
    conversions = {"x_quantized/QuantizeLinear": (5.0, 512)}
    after = LayerTimes(dict(zip(order, [20.0, 60.0, 20.0, 20.0], strict=True)), elements, conversions)
    found, _ = Costs(net, plan, before, after, tags(net)).cheapest()
    assert set(found) == expected
