"""The `factorize` command as a user starts it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flow.test_factorize import two_layers
from tests.passes.running import proto


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    code = "from deploycompress.cli import main; main()"
    command = [sys.executable, "-c", code, "factorize", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "net.onnx"
    path.write_bytes(proto(two_layers()))
    return path


def test_configuration_layers_and_a_verdict_that_claims_nothing(model: Path) -> None:
    done = run(model, "--energy", 0.999, "--no-measure", "--json", model.with_name("r.json"))
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("deploycompress factorize\n")
    assert "svd 4" in done.stdout
    assert "note: no samples" in done.stdout
    last = done.stdout.splitlines()[-1]
    assert last.startswith(f"{model.with_name('net.factorized.onnx')}: 1 layers factorized, parameters -41.6 %, ")
    assert json.loads(model.with_name("r.json").read_text())["parameters_after"] == 1080
    assert model.with_name("net.factorized.onnx").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "error: how far is factorization to go?; give one of --energy 0.95, --ratio 0.5, --max-drop 1% and"),
        (("--energy", 0.9, "--method", "svt"), "error: --method: unknown method 'svt'; did you mean svd?"),
        (("--max-drop", "1%"), "error: --max-drop needs labelled samples"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(model: Path, arguments: tuple[object, ...], said: str) -> None:
    done = run(model, *arguments)
    assert done.returncode == 2
    assert said in done.stderr.splitlines()[-1]
