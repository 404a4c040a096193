from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import typer
from onnx import TensorProto, helper, numpy_helper

from deploycompress.cli.bench import _counts
from deploycompress.report import json as json_report

QUICK = ("--rounds", "6", "--seconds", "0.1", "--launches", "2", "--threads", "1")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    weights = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(weights, "w")],
    )
    path = tmp_path / "linear.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, as a user starts it."""
    code = "from deploycompress.cli import main; main()"
    command = [sys.executable, "-c", code, "bench", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_outputs_are_written_and_the_verdict_comes_last(model: Path, tmp_path: Path) -> None:
    outputs = {kind: tmp_path / "new" / f"report.{kind}" for kind in ("json", "markdown", "html")}
    done = run(model, model, *QUICK, *(part for kind, path in outputs.items() for part in (f"--{kind}", path)))
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("deploycompress bench\n")  # the effective configuration first
    assert "at least 6 rounds and 0.1 s a model" in done.stderr
    assert re.match(
        r"linear \(2\): (no detectable|too noisy to tell a) difference in speed", done.stdout.splitlines()[-1]
    )
    report = json_report.read(outputs["json"])
    assert report.command.endswith(
        f"--json {outputs['json']} --markdown {outputs['markdown']} --html {outputs['html']}"
    )
    assert (
        outputs["markdown"].read_text().startswith("**linear \\(2\\)")
        or "linear (2)" in outputs["markdown"].read_text()
    )
    assert outputs["html"].read_text().startswith("<!doctype html>")


def test_json_on_standard_output_is_all_there_is(model: Path) -> None:
    done = run(model, *QUICK, "--json", "-")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"][0]["name"] == "linear"


def test_unmet_gate_exits_1_after_writing_everything(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    done = run(model, model, *QUICK, "--require-speedup", "1.1", "--json", path)
    assert done.returncode == 1
    assert "--require-speedup 1.1 was not met" in done.stderr.splitlines()[-1]
    assert "NOT MET" in done.stdout
    assert not json_report.read(path).gates_met


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("gone.onnx",), 4, "gone.onnx"),
        (("MODEL", "--max-drop", "banana"), 2, "'banana' is no number; write 1% or 0.01"),
        (("MODEL", "--max-drop", "150%"), 2, "is not between 0 and 100 %"),
        (("MODEL", "--max-drop", "1%"), 2, "needs labelled samples"),
        (("MODEL", "--provider", "cudda"), 2, "unknown execution provider 'cudda'; did you mean cuda"),
        (("MODEL", "--target", "server-gpu"), 2, "unknown target 'server-gpu'"),
        (("MODEL", "--provider", "cuda", "--strict"), 5, "no CUDAExecutionProvider"),
        (("MODEL", "--json", "/dev/null/report.json"), 5, "/dev/null/report.json"),
        ((), 2, "Missing argument"),
    ],
)
def test_wrong_use_exits_with_its_code_and_one_line(
    model: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    done = run(*(str(model) if argument == "MODEL" else argument for argument in arguments), *QUICK)
    assert done.returncode == code, done.stderr
    assert message in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr


def test_several_batches_are_a_sweep(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    done = run(model, *QUICK, "--batch", "2,4", "--json", path)
    assert done.returncode == 0, done.stderr
    assert "batch 4, 1 thread" in done.stdout
    assert [row.batch for row in json_report.read(path).sweep] == [2, 4]


@pytest.mark.parametrize("text", ["1,x", "0", "", "1,,2", "-1"])
def test_lists_of_anything_but_positive_numbers_are_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is no list of positive numbers; write 1 or 1,8"):
        _counts(text, "--batch")
    assert _counts("1, 8,1", "--batch") == (1, 8)
    assert _counts(None, "--batch") == ()
