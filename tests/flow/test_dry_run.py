"""The plan as it is shown: names of the model as given, nothing written, the same decisions as the real run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from deploycompress import model as models
from deploycompress.errors import UsageError
from deploycompress.flow.dry_run import DryRun, dry_run
from deploycompress.flow.quantize import quantize
from deploycompress.records.formats import Format
from tests.flow.test_quantize import TARGET, samples, saved
from tests.zoo import model, normal


def folded_net() -> ir.Model:
    """A convolution into which a BatchNormalization folds, and a classifier of a MatMul and an Add."""
    return model(
        """g (float[N,3,8,8] x) => (float[N,5] y) {
            [stem] c = Conv<pads=[1,1,1,1]>(x, w0)
            [norm] n = BatchNormalization(c, g, b, m, v)
            [act] r = Relu(n)
            [pool] p = GlobalAveragePool(r)
            [flat] f = Flatten(p)
            [head] h = MatMul(f, w1)
            [bias] y = Add(h, b1) }""",
        w0=normal(8, 3, 3, 3),
        w1=normal(8, 5),
        b1=normal(5),
        g=np.ones(8, np.float32),
        b=normal(8),
        m=normal(8),
        v=np.ones(8, np.float32),
    )


@pytest.fixture
def planned(tmp_path: Path) -> DryRun:
    source = saved(folded_net(), tmp_path)
    calib = samples(tmp_path)
    before = set(tmp_path.iterdir())
    found = dry_run(source, target=TARGET, form=Format(), calib=calib)
    assert set(tmp_path.iterdir()) == before
    return found


def test_nodes_carry_the_names_of_the_model_as_given(planned: DryRun) -> None:
    layers = {node.name: (node.op_type, node.form, node.weight) for node in planned.nodes if node.weight}
    int8 = "8 bit per channel, nearest"
    assert layers == {"stem": ("Conv", "int8", int8), "head": ("Gemm", "int8", int8)}
    assert all(node.reason for node in planned.nodes)


def test_tensors_have_the_grid_that_the_file_gets(planned: DryRun, tmp_path: Path) -> None:
    result = quantize(planned.source, tmp_path / "o.onnx", target=TARGET, calib=samples(tmp_path), measure=False)
    written = models.load(result.output)
    scales = {float(node.inputs[1].const_value.numpy()) for node in written.graph if node.op_type == "QuantizeLinear"}
    assert {np.float32(tensor.scale) for tensor in planned.tensors} == {np.float32(scale) for scale in scales}
    assert {tensor.name for tensor in planned.tensors} >= {"x"}
    for tensor in planned.tensors:
        assert tensor.low <= 0 <= tensor.high
        assert tensor.high - tensor.low == pytest.approx(255 * tensor.scale)
    assert planned.samples == result.samples == 24


def test_dynamic_int8_has_no_grids(tmp_path: Path) -> None:
    net = model("g (float[N,8] x) => (float[N,4] y) { y = MatMul(x, w) }", w=normal(8, 4))
    found = dry_run(saved(net, tmp_path), target=TARGET, form=Format("dynamic"))
    assert [(node.form, node.weight) for node in found.nodes] == [("dynamic int8", "8 bit per channel, nearest")]
    assert found.tensors == ()


def test_samples_are_needed_as_for_the_real_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="static int8 needs samples"):
        dry_run(saved(folded_net(), tmp_path), target=TARGET, form=Format())
