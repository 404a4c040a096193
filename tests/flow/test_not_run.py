"""Quantizing without running anything: what is written, in how much memory, what is refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from deploycompress import model as models
from deploycompress import targets
from deploycompress.errors import (
    InvalidOutputError,
    ModelRejectedError,
    UnknownNameError,
    UnsupportedError,
    UsageError,
)
from deploycompress.flow import not_run
from deploycompress.flow.not_run import Written, write_unrun
from deploycompress.quantization.dynamic import emit_dynamic
from deploycompress.quantization.half import plan_half
from deploycompress.quantization.half_emit import emit_half
from deploycompress.quantization.plan import plan_dynamic
from deploycompress.quantization.weight_only import emit_weight_only, plan_weight_only, weight_spec
from deploycompress.records.formats import Format
from deploycompress.runtime.session import Session
from tests.zoo import model, normal

TARGET = targets.load("server-cpu-avx2")
CUDA = targets.load("server-cuda")


def encoder(opset: int = 21) -> ir.Model:
    """A lookup, a Gemm with a transposed weight and a product; its tensors need several slabs of 2^18 elements."""
    return model(
        """g (int64[N] ids) => (float[N,64] y) {
            e = Gather(table, ids)  h = Gemm<transB = 1>(e, w0, b)  r = Relu(h)  y = MatMul(r, w1) }""",
        opset=opset,
        table=normal(4500, 257),
        w0=normal(4100, 257, seed=1),
        b=normal(4100, seed=2),
        w1=normal(4100, 64, seed=3),
    )


def written(folder: Path, kind: str, net: ir.Model | None = None, **options: object) -> Written:
    source = folder / "float.onnx"
    models.save(encoder() if net is None else net, source, external_data=True)
    return write_unrun(source, folder / "o.onnx", form=Format(kind), **{"target": TARGET, **options})  # type: ignore[arg-type]


def stored(net: ir.Model) -> dict[str, bytes]:
    return {name: value.const_value.tobytes() for name, value in net.graph.initializers.items() if value.const_value}


IN_MEMORY: dict[str, Callable[[ir.Model], ir.Model]] = {
    "dynamic": lambda net: emit_dynamic(net, plan_dynamic(net, TARGET)),
    "weights": lambda net: emit_weight_only(net, plan_weight_only(net, TARGET, weight_spec())),
    "fp16": lambda net: emit_half(net, plan_half(net, TARGET, ir.DataType.FLOAT16), ir.DataType.FLOAT16, compute=False),
    "bf16": lambda net: emit_half(
        net, plan_half(net, TARGET, ir.DataType.BFLOAT16), ir.DataType.BFLOAT16, compute=False
    ),
}


@pytest.mark.parametrize("kind", IN_MEMORY)
def test_the_file_holds_the_bytes_of_the_graph_made_in_memory(tmp_path: Path, kind: str) -> None:
    result = written(tmp_path, kind)
    found, expected = stored(models.load(result.output)), stored(IN_MEMORY[kind](encoder()))
    assert found == expected
    assert result.tensors == len(expected)
    assert len(models.data_files(result.output)) == 1  # beside it, as the source has it
    Session(result.output).run({"ids": np.array([0, 4499])})  # nobody ran it, and it runs


def test_dynamic_codes_are_those_of_the_formula_on_whole_arrays(tmp_path: Path) -> None:
    tensors = models.load(written(tmp_path, "dynamic").output).graph.initializers
    table, weight = normal(4500, 257).astype(np.float64), normal(4100, 257, seed=1).T.astype(np.float64)
    step = np.abs(table).max(axis=1, keepdims=True) / 127
    assert_codes(tensors, "table", table, step.astype(np.float32))
    pairs = np.pad(weight, ((0, 1), (0, 0))).reshape(-1, 2, weight.shape[1])  # of one sign, along K
    sums = np.maximum(np.maximum(pairs, 0).sum(axis=1).max(axis=0), np.maximum(-pairs, 0).sum(axis=1).max(axis=0))
    assert_codes(tensors, "w0", weight, (np.maximum(np.abs(weight).max(axis=0), sums) / 127).astype(np.float32))


def assert_codes(tensors: ir.GraphInitializers, name: str, values: np.ndarray, step: np.ndarray) -> None:
    scale, codes = (tensors[f"{name}_{part}"].const_value for part in ("scale", "quantized"))
    assert scale is not None
    assert codes is not None
    np.testing.assert_array_equal(scale.numpy(), step)
    np.testing.assert_array_equal(codes.numpy(), np.clip(np.rint(values.astype(np.float32) / step), -127, 127))


MEMORY = """
import re, sys
from pathlib import Path
from deploycompress import targets
from deploycompress.flow.not_run import write_unrun
from deploycompress.records.formats import Format
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
folder, form, target = Path(sys.argv[1]), Format(sys.argv[2]), targets.load("server-cpu-avx2")
write_unrun(folder / "small.onnx", folder / "o.onnx", target=target, form=form)
before = peak()
write_unrun(folder / "large.onnx", folder / "o.onnx", target=target, form=form)
print(peak() - before)
"""


def chain(layers: int, width: int) -> ir.Model:
    """Products one behind the other; each weight is made when it is written."""
    net = model(f"g (float[N,{width}] x) => (float[N,{width}] y) {{ y = Identity(x) }}")
    drawn, value = normal(width, width), net.graph.inputs[0]
    for layer in range(layers):
        name, shape = f"w{layer}", ir.Shape([width, width])
        made = ir.LazyTensor(
            lambda name=name, layer=layer: ir.tensor(drawn * np.float32(1 + layer), name=name),
            ir.DataType.FLOAT,
            shape,
            name=name,
        )
        weight = ir.val(name, dtype=ir.DataType.FLOAT, shape=shape, const_value=made)
        net.graph.register_initializer(weight)
        product = ir.node("MatMul", [value, weight])
        product.outputs[0].name = f"y{layer}"
        net.graph.insert_before(net.graph[-1], product)
        value = product.outputs[0]
    net.graph[-1].replace_input_with(0, value)
    return net


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory of a process is read from Linux")
@pytest.mark.parametrize("kind", ["dynamic", "weights"])
def test_memory_is_that_of_one_tensor(tmp_path: Path, kind: str) -> None:
    models.save(chain(2, 64), tmp_path / "small.onnx", external_data=True)
    models.save(chain(36, 1024), tmp_path / "large.onnx", external_data=True)  # 151 MB, 4.2 MB each
    command = [sys.executable, "-c", MEMORY, str(tmp_path), kind]
    grown = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout) * 1024
    # A weight, its codes and the temporary arrays of a slab of 2^18 elements, a few of 2 MB: 16 MB (dynamic) and 8 MB
    # were measured. All codes kept would be 38 MB (dynamic) or 19 MB more, all pages of the source 151 MB more.
    assert grown < 24e6


@pytest.mark.parametrize(
    ("form", "target", "reason"),
    [
        (Format(), TARGET, "static int8 takes the scales of activations from runs on samples"),
        (Format("weights", algorithm="gptq"), TARGET, "--algorithm gptq looks at activations"),
        (Format("fp16"), CUDA, "server-cuda computes in float16, and what would overflow there is found by running"),
    ],
)
def test_a_form_that_needs_runs_is_refused_with_the_reason(
    tmp_path: Path, form: Format, target: targets.Target, reason: str
) -> None:
    with pytest.raises(UsageError, match=reason):
        write_unrun(tmp_path / "absent.onnx", tmp_path / "o.onnx", target=target, form=form)


def test_bfloat16_needs_no_ranges_where_it_is_computed_in(tmp_path: Path) -> None:
    result = written(tmp_path, "bf16", target=CUDA)
    assert {node.form for node in result.nodes if node.op_type in ("Gemm", "MatMul")} == {"bf16"}


def test_constants_and_an_old_opset_are_brought_into_form(tmp_path: Path) -> None:
    net = model(
        "g (float[N,64] x) => (float[N,64] y) { c = Constant<value = float[1] {0.5}>() a = Mul(x, c) "
        "y = MatMul(a, w) }",
        opset=9,
        w=normal(64, 64),
    )
    result = written(tmp_path, "dynamic", net)
    assert result.rewrites == ("LiftConstants", "RaiseOpset")
    assert [node.form for node in result.nodes] == ["dynamic int8"]


def test_what_was_excluded_stays_float(tmp_path: Path) -> None:
    result = written(tmp_path, "weights", exclude=["h"])
    assert {node.reason for node in result.nodes if node.op_type == "Gemm"} == {"excluded by the user"}
    with pytest.raises(UnknownNameError, match="--exclude: unknown node or tensor 'hh'"):
        written(tmp_path, "weights", exclude=["hh"])


def test_bad_sources_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    source, output = tmp_path / "float.onnx", tmp_path / "o.onnx"
    for damage, message in ((b"no model", "not a complete ONNX protobuf|it is"), (None, "there is no such file")):
        source.unlink(missing_ok=True)
        if damage is not None:
            source.write_bytes(damage)
        with pytest.raises(ModelRejectedError, match=message):
            write_unrun(source, output, target=TARGET, form=Format("dynamic"))
    with pytest.raises(UnsupportedError, match="there is nothing to quantize"):
        written(tmp_path, "dynamic", model("g (float[N,8] x) => (float[N,8] y) { y = Relu(x) }"))
    with pytest.raises(UsageError, match="the output is the input"):
        write_unrun(source, source, target=TARGET, form=Format("dynamic"))
    assert not output.exists()


def test_a_quantized_source_is_refused(tmp_path: Path) -> None:
    first = written(tmp_path, "dynamic")
    with pytest.raises(ModelRejectedError, match="it is quantized already"):
        write_unrun(first.output, tmp_path / "twice.onnx", target=TARGET, form=Format("dynamic"))


def test_an_external_file_that_is_too_short_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "float.onnx"
    models.save(encoder(), source, external_data=True)
    data = models.data_files(source)[0]
    data.write_bytes(data.read_bytes()[:-4])
    with pytest.raises(ModelRejectedError, match=r"float\.onnx"):
        write_unrun(source, tmp_path / "o.onnx", target=TARGET, form=Format("dynamic"))


def test_a_file_that_is_not_as_planned_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = encoder()
    monkeypatch.setattr(models, "load", lambda path: net)
    with pytest.raises(InvalidOutputError, match=r"o\.onnx: tensors differ from the plan"):
        not_run._checked(written_as(net, tmp_path / "o.onnx"), IN_MEMORY["dynamic"](net))
    assert not (tmp_path / "o.onnx").exists()


def written_as(net: ir.Model, path: Path) -> Path:
    models.save(net, path)
    return path


def test_a_source_is_too_large_where_it_exceeds_the_memory_at_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = written_as(encoder(), tmp_path / "float.onnx")
    assert not_run.too_large(source) == ""
    monkeypatch.setattr(not_run, "available_memory_bytes", lambda: 1_000_000)
    assert not_run.too_large(source) == "it takes 9.91 MB, and 1.00 MB of memory are available"
    monkeypatch.setattr(not_run, "available_memory_bytes", lambda: None)
    assert not_run.too_large(source) == ""
