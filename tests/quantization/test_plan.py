"""Every decision has its reason, and a target that cannot run int8 says so."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycompress import targets
from deploycompress.calibration import collect
from deploycompress.errors import UnsupportedError
from deploycompress.quantization.plan import (
    channel_axes,
    observable_tensors,
    plan,
    plan_dynamic,
    require_int8,
    required_tensors,
)
from tests.quantization.nets import TARGET, feeds, quantized, residual_net
from tests.zoo import model, normal


def reasons(net: ir.Model) -> dict[str, str]:
    return {name: node.reason for name, node in quantized(net)[0].nodes.items() if node.form == "float"}


def test_a_weight_that_is_a_graph_input_is_refused_by_name() -> None:
    net = model("g (float[1,3,6,6] x, float[4,3,3,3] w) => (float[1,4,4,4] y) { y = Conv(x, w) }")
    assert reasons(net) == {"y": "weight 'w' is a graph input"}


def test_products_of_two_activations_stay_float() -> None:
    net = model("g (float[N,4,8] a, float[N,8,4] b) => (float[N,4,4] y) { y = MatMul(a, b) }")
    assert reasons(net) == {"y": "both operands are computed at run time"}


def test_gemm_with_scaled_operands_stays_float() -> None:
    net = model("g (float[N,8] x) => (float[N,4] y) { y = Gemm<alpha=0.5>(x, w) }", w=normal(8, 4))
    assert reasons(net) == {"y": "alpha 0.5 and beta 1 are not 1"}


def test_a_transposed_input_stays_float() -> None:
    net = model("g (float[8,N] x) => (float[N,4] y) { y = Gemm<transA=1>(x, w) }", w=normal(8, 4))
    assert reasons(net) == {"y": "its input is transposed"}


def test_a_layer_inside_a_control_flow_body_is_counted_and_left_float() -> None:
    net = model(
        """g (float[N,8] x, bool flag) => (float[N,4] y) {
            y = If (flag) <
                then_branch = t () => (float[N,4] a) { a = MatMul(x, w) },
                else_branch = e () => (float[N,4] b) { b = MatMul(x, w) }
            >
        }""",
        w=normal(8, 4),
    )
    made = plan_dynamic(net, targets.load("server-cpu"))
    assert {node.reason for node in made.nodes.values()} == {"it lies inside a control-flow body"}


def test_an_excluded_layer_stays_float() -> None:
    net = residual_net()
    excluded = frozenset({"c1"})
    found = collect(net, required_tensors(net, TARGET, excluded), feeds(net))
    made = plan(net, TARGET, found, exclude=excluded)
    assert made.nodes["c1"].reason == "excluded by the user"
    assert made.nodes["c0"].form == "int8"


def test_only_tensors_the_plan_reads_are_tapped() -> None:
    net = model("g (float[N,8] x) => (float[N,4] y) { t = Tanh(x) s = Sigmoid(t) y = Gemm(s, w) }", w=normal(8, 4))
    assert required_tensors(net, TARGET) == ("s",)


def test_a_mover_whose_result_only_float_nodes_read_stays_float() -> None:
    net = model(
        "g (float[1,3,6,6] x) => (float[1,64] y) { c = Conv(x, w) f = Flatten(c) y = Sigmoid(f) }",
        w=normal(4, 3, 3, 3),
    )
    assert reasons(net) == {"f": "no 8-bit node reads its result"}


def test_a_target_without_int8_kernels_says_why() -> None:
    with pytest.raises(UnsupportedError, match=r"server-cuda cannot run int8: the CUDA provider has no int8"):
        require_int8(targets.load("server-cuda"))


def test_dynamic_convolutions_are_refused_with_the_reason() -> None:
    made = plan_dynamic(residual_net(), TARGET)
    assert made.nodes["c0"].reason.startswith("ConvInteger is slower")
    assert made.nodes["y"].form == "dynamic int8"


def test_a_target_without_dynamic_kernels_refuses_dynamic() -> None:
    with pytest.raises(UnsupportedError, match=r"server-tensorrt has no dynamic int8 kernels"):
        plan_dynamic(residual_net(), targets.load("server-tensorrt"))


def concatenated_net() -> ir.Model:
    """Two branches, a Concat, a moved tensor in front of the classifier."""
    return model(
        """g (float[N,3,8,8] x) => (float[N,5] y) {
            a = Conv<pads=[1,1,1,1]>(x, w0)  ra = Relu(a)
            b = Conv<pads=[1,1,1,1]>(x, w0)  rb = Clip(b, low, high)
            c = Concat<axis=1>(ra, rb)
            p = MaxPool<kernel_shape=[8,8]>(c)
            f = Flatten(p)
            y = Gemm<transB=1>(f, w1, b1) }""",
        w0=normal(4, 3, 3, 3),
        w1=normal(5, 8),
        b1=normal(5),
        low=np.array(-0.5, np.float32),
        high=np.array(2, np.float32),
    )


@given(st.sampled_from([residual_net(), residual_net("Clip(c0)"), concatenated_net()]), st.data())
def test_whatever_is_excluded_only_observable_tensors_are_required(net: ir.Model, data: st.DataObject) -> None:
    excluded = data.draw(st.frozensets(st.sampled_from([str(node.outputs[0].name) for node in net.graph])))
    assert set(required_tensors(net, TARGET, excluded)) <= set(observable_tensors(net, TARGET))


def test_the_input_of_a_layer_behind_a_mover_is_observed_for_its_bias() -> None:
    net = concatenated_net()
    assert "f" in required_tensors(net, TARGET)
    found = collect(net, required_tensors(net, TARGET), feeds(net), channel_axes=channel_axes(net))
    assert set(plan(net, TARGET, found).input_means) == {"x", "f"}
