"""`optimize` on files: what is written, what is refused, what is left behind."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from deploycompress import model as models
from deploycompress import targets
from deploycompress.errors import InvalidOutputError, ModelRejectedError, UnknownNameError, UsageError
from deploycompress.flow import optimize as module
from deploycompress.flow.optimize import optimize
from deploycompress.runtime.session import Session, SessionConfig
from tests import zoo
from tests.passes.running import assert_same_outputs, proto

TARGET = targets.load("server-cpu").model_copy(update={"threads": 1})


def write(model: ir.Model, path: Path) -> Path:
    path.write_bytes(proto(model))
    return path


def run(source: Path, output: Path, **options: object) -> module.OptimizeResult:
    return optimize(source, output, target=TARGET, measure=False, **options)


@pytest.mark.parametrize("name", zoo.MODELS)
def test_every_zoo_model_comes_out_equal_and_no_larger(name: str, tmp_path: Path) -> None:
    source = write(zoo.MODELS[name](), tmp_path / "a.onnx")
    before = hashlib.sha256(source.read_bytes()).digest()
    result = run(source, tmp_path / "b.onnx")
    assert result.nodes_after <= result.nodes_before
    assert_same_outputs(zoo.MODELS[name](), ir.load(tmp_path / "b.onnx"))
    assert hashlib.sha256(source.read_bytes()).digest() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.onnx", "b.onnx"]


def test_steps_tell_what_was_kept_and_the_verdict_sums_up(tmp_path: Path) -> None:
    result = run(write(zoo.conv_batchnorm(), tmp_path / "a.onnx"), tmp_path / "b.onnx")
    kept = {step.name: step.reason for step in result.steps if step.kept}
    assert kept["FoldBatchNormalization"].startswith("-1 nodes")
    assert result.verdict.startswith("3 -> 2 nodes, ")
    assert result.verdict.endswith("speed not measured, outputs equal on 4 feeds")
    assert result.bytes_after == (tmp_path / "b.onnx").stat().st_size


def test_model_with_nothing_to_gain_is_copied_and_said_so(tmp_path: Path) -> None:
    model = zoo.model("g (float[N,4] x) => (float[N,3] y) { y = Gemm(x, w) }", w=zoo.normal(4, 3))
    result = run(write(model, tmp_path / "a.onnx"), tmp_path / "b.onnx")
    assert result.verdict == "nothing to gain: the output is a copy of the model"
    assert (tmp_path / "b.onnx").read_bytes() == (tmp_path / "a.onnx").read_bytes()


def test_latency_takes_part_when_it_is_measured(tmp_path: Path) -> None:
    source = write(zoo.conv_batchnorm(), tmp_path / "a.onnx")
    result = optimize(source, tmp_path / "b.onnx", target=TARGET, budget_s=0.05)
    assert result.comparison is not None
    assert all((step.comparison is not None) == bool(step.changes) for step in result.steps)


def test_skipped_pass_does_not_run(tmp_path: Path) -> None:
    source = write(zoo.conv_batchnorm(), tmp_path / "a.onnx")
    result = run(source, tmp_path / "b.onnx", skip=["FoldBatchNormalization"])
    assert "FoldBatchNormalization" not in [step.name for step in result.steps]
    assert result.nodes_after == 3


def test_each_level_runs_the_passes_of_the_one_below_and_more(tmp_path: Path) -> None:
    source = write(zoo.conv_batchnorm(), tmp_path / "a.onnx")
    results = {level: run(source, tmp_path / f"{level}.onnx", level=level) for level in ("tidy", "basic", "full")}
    names = {level: [step.name for step in result.steps] for level, result in results.items()}
    assert set(names["tidy"]) < set(names["basic"]) < set(names["full"])
    assert {level: result.nodes_after for level, result in results.items()} == {"tidy": 3, "basic": 3, "full": 2}
    assert results["basic"].level == "basic"


def test_pass_of_a_higher_level_may_be_skipped(tmp_path: Path) -> None:
    source = write(zoo.conv_batchnorm(), tmp_path / "a.onnx")
    assert run(source, tmp_path / "b.onnx", level="tidy", skip=["FoldAffine"]).nodes_after == 3


def test_unknown_pass_is_named_with_the_nearest_and_nothing_is_written(tmp_path: Path) -> None:
    source = write(zoo.conv_batchnorm(), tmp_path / "a.onnx")
    with pytest.raises(UnknownNameError, match=r"unknown pass 'FoldBatchNorm'; did you mean FoldBatchNormalization"):
        run(source, tmp_path / "b.onnx", skip=["FoldBatchNorm"])
    assert not (tmp_path / "b.onnx").exists()


def test_dimension_is_fixed_and_unknown_ones_are_refused(tmp_path: Path) -> None:
    source = write(zoo.shape_arithmetic(), tmp_path / "a.onnx")
    run(source, tmp_path / "b.onnx", fix_dims={"N": 5})
    fixed = Session(tmp_path / "b.onnx", SessionConfig(threads=1)).signature
    assert fixed.inputs[0].shape == (5, 4, 6)
    with pytest.raises(UnknownNameError, match=r"unknown symbolic dimension 'M'; did you mean N"):
        run(source, tmp_path / "c.onnx", fix_dims={"M": 5})
    with pytest.raises(UsageError, match="must be at least 1, not 0"):
        run(source, tmp_path / "c.onnx", fix_dims={"N": 0})


def test_output_that_is_the_input_is_refused_through_a_link_too(tmp_path: Path) -> None:
    source = write(zoo.conv_batchnorm(), tmp_path / "a.onnx")
    (tmp_path / "link.onnx").symlink_to(source)
    for output in (source, tmp_path / "link.onnx"):
        with pytest.raises(UsageError, match="the input is never overwritten; give another -o"):
            run(source, output)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"<html></html>", "web page"),
        (proto(zoo.conv_batchnorm())[:500], "truncated"),
        (proto(zoo.conv_batchnorm()).replace(b"BatchNormalization", b"BotchNormalization"), "BotchNormalization"),
    ],
)
def test_file_that_does_not_load_is_rejected_and_leaves_nothing(content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(content)
    with pytest.raises(ModelRejectedError, match=reason):
        run(tmp_path / "a.onnx", tmp_path / "b.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["a.onnx"]


def test_model_no_feed_fits_is_rejected_with_the_remedy_and_runs_with_data(tmp_path: Path) -> None:
    picky = zoo.model(
        "g (int64[1] length) => (float[?] y) { e = Expand(one, length) y = Reshape(e, four) }",
        one=np.ones(1, np.float32),
        four=np.asarray([4], np.int64),
    )
    source = write(picky, tmp_path / "a.onnx")
    with pytest.raises(ModelRejectedError, match="--data"):
        run(source, tmp_path / "b.onnx")
    assert not (tmp_path / "b.onnx").exists()
    (tmp_path / "data").mkdir()
    np.savez(tmp_path / "data" / "0.npz", length=np.asarray([4]))
    assert run(source, tmp_path / "b.onnx", data=str(tmp_path / "data")).feeds == 1


def test_file_that_disagrees_after_saving_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def corrupt(model: ir.Model, path: Path) -> None:
        wrong = model.clone()
        name, weight = next(iter(wrong.graph.initializers.items()))
        weight.const_value = ir.tensor(-weight.const_value.numpy(), name=name)
        path.write_bytes(proto(wrong))

    monkeypatch.setattr(models, "save", corrupt)
    source = write(zoo.conv_batchnorm(), tmp_path / "a.onnx")
    with pytest.raises(InvalidOutputError, match="the file written does not agree with the source: output 'y'"):
        run(source, tmp_path / "b.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["a.onnx"]


def test_nodes_out_of_order_are_put_in_order(tmp_path: Path) -> None:
    model = zoo.conv_affine()
    shuffled = ir.to_proto(model)
    shuffled.graph.node.sort(key=lambda node: node.op_type)
    (tmp_path / "a.onnx").write_bytes(shuffled.SerializeToString())
    result = run(tmp_path / "a.onnx", tmp_path / "b.onnx")
    assert result.nodes_after == 1
    assert_same_outputs(model, ir.load(tmp_path / "b.onnx"))


def test_outputs_that_are_not_kept_go_and_the_others_are_compared(tmp_path: Path) -> None:
    text = "t = Gather<axis=1>(n, first) y = Gemm(t, wh)"
    model = zoo.encoder("float[N,S,8] n, float[N,3] y", text)
    source, output = write(model, tmp_path / "a.onnx"), tmp_path / "b.onnx"
    with pytest.raises(UnknownNameError, match="'yy'"):
        run(source, output, keep_outputs=["yy"])
    assert run(source, output, keep_outputs=["y"]).feeds > 0
    assert [value.name for value in ir.load(output).graph.outputs] == ["y"]
    assert_same_outputs(zoo.encoder("float[N,3] y", text), ir.load(output))


def test_model_whose_mask_the_runtime_does_not_broadcast_comes_out_running(tmp_path: Path) -> None:
    model = zoo.model(
        "g (float[B,2,S,4] q, float[B,1,1,S] m) => (float[B,2,S,4] y) { y = Attention(q, q, q, m) }",
        ir_version=10,
        opset=23,
    )
    source, output = write(model, tmp_path / "a.onnx"), tmp_path / "b.onnx"
    feeds = {"q": zoo.normal(2, 2, 5, 4), "m": zoo.normal(2, 1, 1, 5)}
    with pytest.raises(ModelRejectedError, match="running Attention node"):
        Session(source).run(feeds)
    run(source, output)
    assert Session(output).run(feeds)["y"].shape == (2, 2, 5, 4)
