"""16-bit activations: where they are allowed, what the file holds, and how close it comes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from deploycompress import targets
from deploycompress.errors import UnsupportedError
from deploycompress.quantization.affine import grid, quantize
from deploycompress.quantization.plan import plan
from deploycompress.quantization.qdq import emit_qdq
from deploycompress.quantization.qoperator import to_qoperator
from deploycompress.quantization.wide import computed_in_float, with_activation_bits
from tests.quantization.nets import feeds, fused, quantized, residual_net, run, sqnr_db, statistics
from tests.zoo import model, normal

QNN = targets.load("mobile-qnn")


def wide_net() -> ir.Model:
    """`residual_net` at an opset that holds 16-bit codes."""
    net = residual_net()
    net.graph.opset_imports[""] = 21
    return net


def test_a_target_without_them_refuses_sixteen_bits() -> None:
    with pytest.raises(UnsupportedError, match=r"target server-cpu takes 8-bit activations alone; leave --activation-"):
        with_activation_bits(targets.load("server-cpu"), 16)
    assert with_activation_bits(QNN, 8) is QNN


def test_a_target_whose_runtime_is_too_old_refuses_with_the_opset() -> None:
    old = QNN.model_copy(update={"max_opset": 19})
    with pytest.raises(UnsupportedError, match=r"16-bit activations need opset 21; target mobile-qnn loads 19 at most"):
        with_activation_bits(old, 16)


def test_a_model_of_an_older_opset_is_refused_with_both_versions() -> None:
    net = residual_net()
    target = with_activation_bits(QNN, 16)
    with pytest.raises(UnsupportedError, match=r"the model has opset 17 and the quantized form needs 21"):
        emit_qdq(net, plan(net, target, statistics(net, target)))


@pytest.mark.parametrize("dtype", ["uint16", "int16"])
@pytest.mark.parametrize("symmetric", [False, True])
def test_sixteen_bits_come_much_closer_than_eight(dtype: str, symmetric: bool) -> None:
    rules = QNN.quant.model_copy(update={"wide_activation": dtype, "activation_symmetric": symmetric})
    target = with_activation_bits(QNN.model_copy(update={"quant": rules}), 16)
    net, feed = wide_net(), feeds(wide_net())[3]
    reference = run(net, feed)["y"]
    made, wide = quantized(net, target)
    _, narrow = quantized(net, QNN)
    assert {spec.grid.dtype for spec in made.activations.values()} == {dtype}
    # What is left is the rounding of 8-bit weights, half of the noise: 3 dB, and more where ranges are wide.
    assert sqnr_db(reference, run(wide, feed, "none")["y"]) > sqnr_db(reference, run(narrow, feed, "none")["y"]) + 2
    assert sqnr_db(reference, run(wide, feed, "none")["y"]) > 35


def test_ranges_are_not_clipped_for_the_sake_of_steps_that_are_small_anyway() -> None:
    target, net = with_activation_bits(QNN, 16), wide_net()
    seen = statistics(net, target)
    methods = {spec.method for spec in plan(net, target, seen, method="mse").activations.values()}
    assert methods == {"minmax", "shared"}
    assert "mse" in {spec.method for spec in plan(net, QNN, seen, method="mse").activations.values()}


def test_the_grid_uses_all_codes_and_zero_is_one_of_them() -> None:
    for dtype, middle in (("uint16", 32768), ("int16", 0)):
        symmetric = grid(-1.0, 2.0, dtype, symmetric=True)
        assert (symmetric.zero_point, symmetric.scale) == (middle, pytest.approx(2 / 32767))
        fitted = grid(-1.0, 2.0, dtype, symmetric=False)
        codes = quantize(np.float32([-1.0, 0.0, 2.0]), fitted)
        assert codes.tolist() == [np.iinfo(dtype).min, fitted.zero_point, np.iinfo(dtype).max]


def test_this_machine_computes_it_in_float_and_says_so(tmp_path: Path) -> None:
    target = with_activation_bits(QNN, 16)
    _, wide = quantized(wide_net(), target)
    ops = fused(wide, tmp_path)
    assert ops["QLinearConv"] + ops["QGemm"] == 0
    said = computed_in_float(target)
    assert said is not None
    assert "runs in float here" in said
    assert computed_in_float(QNN) is None


def test_operators_of_eight_bits_refuse_sixteen() -> None:
    _, wide = quantized(wide_net(), with_activation_bits(QNN, 16))
    with pytest.raises(UnsupportedError, match=r"Conv 'r0' has 16-bit codes; its operator form takes 8-bit ones"):
        to_qoperator(wide)


def test_an_accelerator_that_takes_no_float_gets_codes_behind_products() -> None:
    net = model(
        "g (float[2,64] x) => (float[2,8] y) { h = Gemm(x, w, b) r = Relu(h) y = MatMul(r, v) }",
        w=normal(64, 64),
        b=normal(64),
        v=normal(64, 8),
    )
    made, int8 = quantized(net, QNN)
    assert made.nodes["h"].absorbs == "r"
    assert [node.op_type for node in int8.graph].count("QuantizeLinear") == 3
    assert [value.name for value in int8.graph.outputs] == ["y"]
    feed = feeds(net)[0]
    assert sqnr_db(run(net, feed)["y"], run(int8, feed, "none")["y"]) > 30
