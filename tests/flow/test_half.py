"""The half-precision maker: stored or computed as the target says, ranges measured once, the whole command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir

from deploycompress import model as models
from deploycompress import targets
from deploycompress.flow.half import Half
from deploycompress.flow.quantize import quantize
from deploycompress.records.formats import Format
from deploycompress.runtime.session import SessionConfig
from tests.passes.running import feed, outputs
from tests.quantization.nets import residual_net
from tests.zoo import model, normal

ONE = SessionConfig(threads=1)
COMPUTES = targets.load("server-cuda")


def test_a_target_that_computes_in_half_has_its_ranges_measured_and_keeps_what_overflows() -> None:
    text = "g (float[N,64] x) => (float[N,8] y) { a = MatMul(x, w)\n n = Mul(a, c)\n y = MatMul(n, v) }"
    net = model(text, opset=11, w=normal(64, 64) * 1e4, v=normal(64, 8), c=np.array([1e-4], np.float32))
    maker = Half(net, COMPUTES, ir.DataType.FLOAT16, (feed(net),), ONE)
    made = maker({})
    assert {name: planned.form for name, planned in made.plan.nodes.items()} == {
        "a": "float",
        "n": "float",
        "y": "fp16",
    }
    assert maker({"y": 32}).plan.nodes["y"].reason == "excluded by the user"
    got, expected = outputs(made.model, feed(net))["y"], outputs(net, feed(net))["y"]
    # Values and weights of the last product rounded to 2^-11.
    np.testing.assert_allclose(got, expected, atol=2e-2 * np.abs(expected).max())


def test_bfloat16_and_stored_halves_need_no_measurement() -> None:
    for target, dtype, form in (
        ("server-cuda", ir.DataType.BFLOAT16, "bf16"),
        ("server-cpu", ir.DataType.FLOAT16, "fp16"),
    ):
        maker = Half(residual_net(), targets.load(target), dtype, (), ONE)
        assert maker({}).plan.nodes["y"].form == form
        assert maker.statistics is None


def test_the_command_writes_half_the_file_and_says_how_close_it_is(tmp_path: Path) -> None:
    text = "g (float[N,64] x) => (float[N,64] y) { h = MatMul(x, w)\n r = Relu(h)\n y = MatMul(r, v) }"
    source = tmp_path / "float.onnx"
    models.save(model(text, w=normal(64, 64), v=normal(64, 64, seed=1)), source)
    for kind in ("fp16", "bf16"):
        output = tmp_path / f"{kind}.onnx"
        form = Format(kind)  # type: ignore[arg-type]
        result = quantize(source, output, target=targets.load("server-cpu-avx2"), form=form, measure=False)
        assert result.bytes_after < 0.55 * result.bytes_before
        assert [planned.form for planned in result.nodes] == [kind, kind]
        assert {dtype for dtype in models.weight_bytes(models.load(output)) if "float" in dtype} == {
            "float16" if kind == "fp16" else "bfloat16"
        }
