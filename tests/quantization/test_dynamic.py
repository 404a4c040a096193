"""Dynamic int8: what fuses, how close it stays, what is shared."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploycompress.quantization.dynamic import emit_dynamic
from deploycompress.quantization.plan import plan_dynamic
from tests.quantization.nets import TARGET, feeds, fused, run, sqnr_db
from tests.zoo import model, normal

NETS = {
    "matmul": lambda: model("g (float[N,7,8] x) => (float[N,7,5] y) { y = MatMul(x, w) }", w=normal(8, 5)),
    "gemm": lambda: model("g (float[N,8] x) => (float[N,5] y) { y = Gemm(x, w, b) }", w=normal(8, 5), b=normal(5)),
    "gemm_transposed": lambda: model(
        "g (float[N,8] x) => (float[N,5] y) { t = Tanh(x) y = Gemm<transB=1>(t, w, b) }", w=normal(5, 8), b=normal(1, 5)
    ),
}


@pytest.mark.parametrize("name", NETS)
def test_outputs_stay_close_and_the_chain_fuses(name: str, tmp_path: Path) -> None:
    net = NETS[name]()
    int8 = emit_dynamic(net, plan_dynamic(net, TARGET))
    feed = feeds(net)[0]
    assert fused(int8, tmp_path)["DynamicQuantizeMatMul"] == 1
    assert sqnr_db(run(net, feed)["y"], run(int8, feed)["y"]) > 30  # one 8-bit layer on normal data gives about 40 dB
    assert int8.graph.outputs[0].name == "y"
    assert not {"w", "b"} & int8.graph.initializers.keys()


def test_one_dynamic_quantize_serves_every_reader() -> None:
    net = model(
        "g (float[N,8] x) => (float[N,4] a, float[N,4] b) { a = MatMul(x, w0) b = MatMul(x, w1) }",
        w0=normal(8, 4),
        w1=normal(8, 4, seed=1),
    )
    int8 = emit_dynamic(net, plan_dynamic(net, TARGET))
    assert [node.op_type for node in int8.graph].count("DynamicQuantizeLinear") == 1
