"""The `optimize` command as a user starts it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests import zoo
from tests.passes.running import proto


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    code = "from deploycompress.cli import main; main()"
    command = [sys.executable, "-c", code, "optimize", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "net.onnx"
    path.write_bytes(proto(zoo.conv_batchnorm()))
    return path


def test_configuration_comes_first_table_then_verdict_last_and_the_file_lies_beside_the_input(model: Path) -> None:
    done = run(model, "--no-measure")
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("deploycompress optimize\n")
    assert "server-cpu" in done.stderr
    assert "FoldBatchNormalization" in done.stdout
    output = model.with_name("net.opt.onnx")
    assert done.stdout.splitlines()[-1].startswith(f"{output}: 3 -> 2 nodes, ")
    assert output.exists()


def test_what_was_refused_is_printed_with_its_count_and_the_long_tail_in_one_row(tmp_path: Path) -> None:
    body = " ".join(f"e{n} = Expand(one, shape{n}) y{n} = Mul(x, e{n})" for n in range(5))
    shapes = {f"shape{n}": np.asarray([64 + n, 64], np.int64) for n in range(5)}
    outputs = ", ".join(f"float[?,64] y{n}" for n in range(5))
    model = zoo.model(f"g (float[1,64] x) => ({outputs}) {{ {body} }}", one=np.ones((1, 1), np.float32), **shapes)
    (tmp_path / "a.onnx").write_bytes(proto(model))
    done = run(tmp_path / "a.onnx", "--no-measure")
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if line.strip().startswith("FoldConstants")]
    assert rows == [
        ["FoldConstants", "1", "folding", "Expand", "would", "store", str((64 + n) * 256), "bytes"] for n in (4, 3, 2)
    ] + [["FoldConstants", "2", "2", "other", "reasons,", "all", "in", "--json"]]


def test_json_on_standard_output_is_all_there_is(model: Path) -> None:
    done = run(model, "--no-measure", "--json", "-")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["nodes_before"], result["nodes_after"]) == (3, 2)
    assert any(step["name"] == "FoldBatchNormalization" and step["kept"] for step in result["steps"])


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--skip", "FoldBatchNorm"], 2, "did you mean FoldBatchNormalization"),
        (["--fix-dim", "M=2"], 2, "unknown symbolic dimension 'M'; did you mean N"),
        (["--fix-dim", "N:2"], 2, "--fix-dim wants NAME=LENGTH, not 'N:2'"),
        (["--level", "fast"], 2, "'fast' is not one of 'tidy', 'basic', 'full'"),
        (["--target", "toaster"], 2, "unknown target 'toaster'"),
        (["-o", "net.onnx"], 2, "the input is never overwritten"),
        (["--data", "nowhere"], 4, "nowhere"),
    ],
)
def test_wrong_request_ends_with_one_line_and_its_code(model: Path, options: list[str], code: int, said: str) -> None:
    options = [str(model) if option == "net.onnx" else option for option in options]
    done = run(model, "--no-measure", *options)
    assert done.returncode == code, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.lower().startswith("error: ")
    assert said in last
    assert "Traceback" not in done.stderr
    assert [path.name for path in model.parent.iterdir()] == ["net.onnx"]


def test_dimension_is_fixed(model: Path) -> None:
    done = run(model, "--no-measure", "--fix-dim", "N=3", "-o", model.parent / "fixed.onnx")
    assert done.returncode == 0, done.stderr
    assert "N=3" in done.stderr


def test_missing_file_is_rejected(tmp_path: Path) -> None:
    done = run(tmp_path / "absent.onnx")
    assert done.returncode == 4
    assert "absent.onnx" in done.stderr.splitlines()[-1]
