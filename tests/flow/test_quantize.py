"""The whole quantize flow on small nets: what is written, what is refused, what is promised."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from deploycompress import model as models
from deploycompress import targets
from deploycompress.errors import (
    EnvironmentLacksError,
    ModelRejectedError,
    UnknownNameError,
    UnsupportedError,
    UsageError,
)
from deploycompress.flow.quantize import quantize
from deploycompress.flow.quantized import QuantizeResult
from deploycompress.records.formats import Format
from deploycompress.records.measured import Comparison, Interval
from deploycompress.runtime.session import Session
from tests.quantization.nets import residual_net
from tests.zoo import model, normal

TARGET = targets.load("server-cpu-avx2")


def saved(net: ir.Model, folder: Path) -> Path:
    path = folder / "float.onnx"
    models.save(net, path)
    return path


def samples(folder: Path, count: int = 24, shape: tuple[int, ...] = (3, 8, 8)) -> str:
    np.savez(folder / "calibration.npz", x=normal(count, *shape))
    return str(folder / "calibration.npz")


def quantized(net: ir.Model, folder: Path, **options: object) -> QuantizeResult:
    if "calib" not in options:
        options["calib"] = samples(folder)
    source = saved(net, folder)
    return quantize(source, folder / "int8.onnx", target=TARGET, measure=False, **options)  # type: ignore[arg-type]


def test_the_file_runs_and_stays_close(tmp_path: Path) -> None:
    result = quantized(residual_net(), tmp_path)
    assert result.output.is_file()
    assert result.samples == 24
    assert result.weights_dequantized == 0
    assert result.fidelity.sqnr_db > 25  # 8 bits through three layers on normal data give about 35 dB
    x = normal(2, 3, 8, 8, seed=9)
    before, after = (Session(path).run({"x": x})["y"] for path in (result.source, result.output))
    assert before.shape == after.shape


def test_the_input_is_never_overwritten(tmp_path: Path) -> None:
    source = saved(residual_net(), tmp_path)
    before = source.read_bytes()
    with pytest.raises(UsageError, match="the output is the input"):
        quantize(source, source, calib=samples(tmp_path), target=TARGET)
    assert source.read_bytes() == before


def test_static_int8_without_samples_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs samples; give --calib DIR, --calibration FILE, or --dynamic"):
        quantized(residual_net(), tmp_path, calib=None)


def test_a_quantized_model_is_not_quantized_again(tmp_path: Path) -> None:
    first = quantized(residual_net(), tmp_path)
    with pytest.raises(ModelRejectedError, match=r"int8\.onnx: it is quantized already"):
        quantize(first.output, tmp_path / "twice.onnx", calib=samples(tmp_path), target=TARGET)
    assert not (tmp_path / "twice.onnx").exists()


def test_an_unknown_exclude_pattern_is_an_error_with_suggestions(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="--exclude: unknown node or tensor 'c11'; did you mean c1"):
        quantized(residual_net(), tmp_path, exclude=["c11"])
    assert not (tmp_path / "int8.onnx").exists()


def test_an_excluded_layer_stays_float_under_its_original_name(tmp_path: Path) -> None:
    result = quantized(residual_net(), tmp_path, exclude=["c?"])
    reasons = {node.node: node.reason for node in result.nodes if node.op_type == "Conv"}
    assert set(reasons.values()) == {"excluded by the user"}


def test_an_excluded_layer_is_found_after_batchnorm_folding(tmp_path: Path) -> None:
    net = model(
        """g (float[N,3,8,8] x) => (float[N,4,4,4] y) {
            c = Conv(x, w0)  n = BatchNormalization(c, g, b, m, v)  r = Relu(n)  y = Conv(r, w1) }""",
        w0=normal(8, 3, 3, 3),
        w1=normal(4, 8, 3, 3),
        g=np.ones(8, np.float32),
        b=normal(8),
        m=normal(8),
        v=np.ones(8, np.float32),
    )
    result = quantized(net, tmp_path, exclude=["c"])
    assert "FoldBatchNormalization" in result.rewrites
    assert [node.reason for node in result.nodes if node.form == "float"] == ["excluded by the user"]


def test_a_target_without_int8_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="server-cuda cannot run int8"):
        quantize(tmp_path / "absent.onnx", tmp_path / "o.onnx", calib="random", target=targets.load("server-cuda"))


def test_dynamic_int8_of_a_convolutional_net_is_refused_with_advice(tmp_path: Path) -> None:
    net = model("g (float[N,3,8,8] x) => (float[N,4,6,6] y) { y = Conv(x, w) }", w=normal(4, 3, 3, 3))
    with pytest.raises(UnsupportedError, match="ConvInteger is slower than the float convolution; static int8"):
        quantized(net, tmp_path, calib=None, form=Format("dynamic"))


def test_random_calibration_is_stamped(tmp_path: Path) -> None:
    result = quantized(residual_net(), tmp_path, calib="random:8")
    assert any("CALIBRATED ON RANDOM DATA" in note for note in result.notes)


def test_few_samples_are_remarked_on(tmp_path: Path) -> None:
    result = quantized(residual_net(), tmp_path, calib=samples(tmp_path, count=3))
    assert any("only 3 calibration samples" in note for note in result.notes)


def test_an_old_opset_is_raised(tmp_path: Path) -> None:
    net = model("g (float[N,8] x) => (float[N,4] y) { y = Gemm(x, w, b) }", opset=9, w=normal(8, 4), b=normal(4))
    result = quantized(net, tmp_path, calib=samples(tmp_path, shape=(8,)))
    assert "RaiseOpset" in result.rewrites
    assert models.load(result.output).opset_imports[""] >= 13


def test_a_dynamic_matmul_net_needs_no_samples(tmp_path: Path) -> None:
    net = model("g (float[N,8] x) => (float[N,4] y) { y = MatMul(x, w) }", w=normal(8, 4))
    result = quantized(net, tmp_path, calib=None, form=Format("dynamic"))
    assert (result.form, result.samples, result.int8_nodes) == ("dynamic int8", 0, 1)


@pytest.mark.shared
def test_resnet20_keeps_its_decisions(shared: Path, tmp_path: Path) -> None:
    # Accuracy on all 5,000 images is measured by bench/classifiers.py; here the form of the graph is what counts.
    source = shared / "models/cifar10/resnet20_cifar10.onnx"
    result = quantize(source, tmp_path / "int8.onnx", calib="random:8", target=TARGET, measure=False)
    assert result.weights_dequantized == 0
    assert sum(node.form == "int8" for node in result.nodes if node.op_type in ("Conv", "Add", "Gemm")) == 29
    assert result.bytes_after * 3 < result.bytes_before


def test_an_output_that_cannot_be_written_is_found_before_the_work(tmp_path: Path) -> None:
    source = saved(residual_net(), tmp_path)
    with pytest.raises(EnvironmentLacksError, match=r"absent/int8\.onnx: it cannot be written"):
        quantize(source, tmp_path / "absent" / "int8.onnx", calib="no such samples", target=TARGET)


def test_the_operator_layout_takes_and_gives_codes(tmp_path: Path) -> None:
    result = quantized(residual_net(), tmp_path, form=Format(layout="qoperator"))
    written = [node.op_type for node in models.load(result.output).graph]
    assert written.count("QLinearConv") == 2
    assert "Conv" not in written
    assert result.kernels.startswith("2 of 2 Conv run as QLinearConv, 1 of 1 Gemm run as ")
    assert result.fidelity.sqnr_db > 25  # as in the other layout


def test_a_model_without_layers_is_refused(tmp_path: Path) -> None:
    net = model("g (float[N,8] x) => (float[N,8] y) { y = Relu(x) }")
    with pytest.raises(UnsupportedError, match="there is nothing to quantize: no Conv, Gemm or MatMul has weights"):
        quantized(net, tmp_path, calib="random:4")
    trees = model(
        "g (float[N,1] x) => (float[N,1] y) { y = ai.onnx.ml.Scaler <offset = [0.0], scale = [2.0]> (x) }",
        imports=', "ai.onnx.ml" : 1',
    )
    del trees.opset_imports[""]
    with pytest.raises(UnsupportedError, match="there is nothing to quantize: no operator is of the standard domain"):
        quantized(trees, tmp_path, calib=None, form=Format("dynamic"))
    assert not (tmp_path / "int8.onnx").exists()


def test_layers_that_all_stay_float_are_counted_with_the_reasons(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"0 of 3 layers can be quantized for .* \(Conv: excluded by the user;"):
        quantized(residual_net(), tmp_path, exclude=["*"])


def test_an_operator_that_the_target_does_not_read_is_named(tmp_path: Path) -> None:
    net = model("g (float[N,8] x) => (float[N,4] y) { a = Gelu(x) y = MatMul(a, w) }", opset=20, w=normal(8, 4))
    old = TARGET.model_copy(update={"max_opset": 17})
    with pytest.raises(UnsupportedError, match="Gelu needs opset 20, the target allows 17"):
        quantize(saved(net, tmp_path), tmp_path / "o.onnx", calib="random:4", target=old, measure=False)


def test_a_file_that_bought_nothing_says_so(tmp_path: Path) -> None:
    result = quantized(residual_net(), tmp_path)
    same = Comparison(1.0, Interval(0.99, 1.01), "NO DIFFERENCE")
    assert not replace(result, bytes_before=200, bytes_after=100, comparison=same).buys_nothing
    assert replace(result, bytes_before=100, bytes_after=99, comparison=same).buys_nothing
    faster = replace(same, verdict="FASTER")
    assert not replace(result, bytes_before=100, bytes_after=99, comparison=faster).buys_nothing
    assert not replace(result, bytes_before=100, bytes_after=99, comparison=None).buys_nothing


def layers_net(width: int = 64) -> ir.Model:
    return model(
        f"g (float[N,{width}] x) => (float[N,{width}] y) {{ a = MatMul(x, w0) r = Relu(a) y = MatMul(r, w1) }}",
        w0=normal(width, width),
        w1=normal(width, width, seed=1),
    )


def test_weights_alone_take_four_bits_and_no_samples(tmp_path: Path) -> None:
    result = quantized(layers_net(), tmp_path, calib=None, form=Format("weights"))
    assert (result.form, result.samples) == ("4-bit weights", 0)
    assert result.kernels == "2 of 2 MatMul run as MatMulNBits; 0 weights dequantized per run"
    assert {node.weight.bits for node in result.nodes if node.weight} == {4}
    assert result.bytes_after * 3 < result.bytes_before
    assert result.fidelity.sqnr_db > 15  # four bits in blocks of 32 through two layers give about 18 dB
    assert result.notes == ()


def test_rounding_that_looks_at_samples_needs_some(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--algorithm gptq needs samples; give --calib DIR"):
        quantized(layers_net(), tmp_path, calib=None, form=Format("weights", algorithm="gptq"))
    result = quantized(
        layers_net(), tmp_path, calib=samples(tmp_path, shape=(64,)), form=Format("weights", algorithm="gptq")
    )
    assert result.samples == 24
    assert {node.weight.rounding for node in result.nodes if node.weight} == {"gptq"}


def test_outputs_that_have_little_to_do_with_the_model_are_told(tmp_path: Path) -> None:
    result = quantized(layers_net(), tmp_path, calib=None, form=Format("weights", levels="binary"))
    assert result.fidelity.sqnr_db < 10
    assert "THE OUTPUTS ARE FAR FROM THE FLOAT MODEL'S" in result.notes[0]


def test_wide_activations_are_for_targets_that_take_them(tmp_path: Path) -> None:
    wide = Format(activation_bits=16)
    with pytest.raises(UnsupportedError, match="target server-cpu-avx2 takes 8-bit activations alone; leave --activ"):
        quantized(residual_net(), tmp_path, form=wide)
    npu = targets.load("mobile-qnn")
    source = saved(residual_net(), tmp_path)
    result = quantize(source, tmp_path / "o.onnx", target=npu, form=wide, calib=samples(tmp_path), measure=False)
    types = {value.dtype for value in models.load(result.output).graph.initializers.values()}
    assert ir.DataType.UINT16 in types
    narrow = quantize(source, tmp_path / "n.onnx", target=npu, calib=samples(tmp_path), measure=False)
    assert result.fidelity.sqnr_db > narrow.fidelity.sqnr_db + 3  # what is left is the rounding of the weights


def test_pair_sums_are_reported_where_the_kernels_have_them(tmp_path: Path) -> None:
    result = quantized(residual_net(), tmp_path)
    assert result.saturation is not None
    assert [layer.node for layer in result.saturation.layers] == [
        node.node for node in result.nodes if node.op_type in ("Conv", "Gemm") and node.form == "int8"
    ]
    assert result.saturation.unsafe == {}
    assert result.saturation.sentence in result.notes
    source = saved(residual_net(), tmp_path)
    vnni = targets.load("server-cpu")
    other = quantize(source, tmp_path / "v.onnx", target=vnni, measure=False, calib=samples(tmp_path))
    assert other.saturation is None


def test_half_precision_takes_half_the_bytes(tmp_path: Path) -> None:
    result = quantized(layers_net(), tmp_path, calib=None, form=Format("fp16"))
    assert (result.form, result.samples, result.available) == ("float16", 0, 0)
    assert result.kernels.startswith("2 of 2 nodes in fp16; ")
    assert result.bytes_after < 0.6 * result.bytes_before
    assert result.fidelity.sqnr_db > 60  # ten bits of mantissa are 60 dB


def test_what_runs_on_another_provider_is_checked_here_and_not_timed(tmp_path: Path) -> None:
    source, cuda = saved(layers_net(), tmp_path), targets.load("server-cuda")
    calib = samples(tmp_path, shape=(64,))
    result = quantize(source, tmp_path / "h.onnx", target=cuda, form=Format("fp16"), calib=calib)
    assert result.comparison is None
    assert "checked on the CPU and not timed: server-cuda runs on CUDAExecutionProvider" in result.notes
    assert (result.samples, result.available, result.ended) == (24, 24, "every sample was used")
