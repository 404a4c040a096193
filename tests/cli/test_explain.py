"""The `explain` command as a user starts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests import zoo
from tests.passes.running import proto


def run(*arguments: object, columns: int = 120) -> subprocess.CompletedProcess[str]:
    code = "from deploycompress.cli import main; main()"
    command = [sys.executable, "-c", code, "explain", *map(str, arguments)]
    environment = os.environ | {"COLUMNS": str(columns)}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "net.onnx"
    path.write_bytes(proto(zoo.conv_batchnorm()))
    return path


def test_tables_and_verdict_are_printed(model: Path) -> None:
    done = run(model, "--runs", 2)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("deploycompress explain\n")
    assert "Conv" in done.stdout
    assert "weights in bytes: float32 " in done.stdout
    assert done.stdout.splitlines()[-1].startswith(f"{model}: ")


@pytest.mark.parametrize("columns", [60, 90, 200])
def test_tables_are_never_wider_than_the_terminal(model: Path, columns: int) -> None:
    done = run(model, "--runs", 1, columns=columns)
    table = done.stdout.split("weights in bytes")[0]
    assert max(map(len, table.splitlines())) <= columns


def test_json_on_standard_output_is_all_there_is(model: Path) -> None:
    done = run(model, "--runs", 1, "--json", "-")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["feed"] == {"x": [1, 4, 5, 5]}


def test_model_that_random_inputs_do_not_fit_says_how_to_give_others(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    built = zoo.model("g (float[4] x) => (float[3] y) { y = Reshape(x, three) }", three=np.asarray([3], np.int64))
    path.write_bytes(proto(built))
    done = run(path)
    assert done.returncode == 4
    assert done.stderr.splitlines()[-1].endswith("give inputs it accepts with --data")
