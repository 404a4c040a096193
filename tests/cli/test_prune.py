"""The `prune` command as a user starts it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.passes.running import proto
from tests.pruning import nets


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    code = "from deploycompress.cli import main; main()"
    command = [sys.executable, "-c", code, "prune", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "net.onnx"
    path.write_bytes(proto(nets.residual()))
    return path


def test_configuration_groups_notes_and_a_verdict_that_claims_nothing(model: Path) -> None:
    done = run(model, "--ratio", 0.5, "--no-measure", "--json", model.with_name("r.json"))
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("deploycompress prune\n")
    assert "8 -> 4" in done.stdout
    assert "note: no samples: nothing was repaired" in done.stdout
    last = done.stdout.splitlines()[-1]
    assert last.startswith(f"{model.with_name('net.pruned.onnx')}: parameters -68.9 %, multiplications -70.0 %, ")
    assert last.endswith("what it means for accuracy is not known: give --eval")
    assert json.loads(model.with_name("r.json").read_text())["parameters_after"] == 355
    assert model.with_name("net.pruned.onnx").exists()


def test_the_list_writes_nothing(model: Path) -> None:
    done = run(model, "--list")
    assert done.returncode == 0, done.stderr
    assert "it is fed by the graph input 'x'" in done.stdout
    assert done.stdout.splitlines()[-1] == f"{model}: 14 units in 2 groups may go, 2 groups may not"
    assert not model.with_name("net.pruned.onnx").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "error: how much is to go?; give --ratio 0.5, --speedup 1.5x or --max-drop 1%, or --list to see what may"),
        (("--ratio", 2), "error: the ratio must lie between 0 and 1, not 2; --ratio 0.5 removes half"),
        (("--ratio", 0.5, "--score", "l3"), "error: --score: unknown score 'l3'; did you mean l2, l1?"),
        (("--ratio", 0.5, "--score", "activation"), "the score activation needs samples; give --calib DIR"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(model: Path, arguments: tuple[object, ...], said: str) -> None:
    done = run(model, *arguments)
    assert done.returncode == 2
    assert said in done.stderr.splitlines()[-1]


def test_single_weights_become_zero_and_the_verdict_says_what_that_is_worth(tmp_path: Path) -> None:
    from tests.flow.test_sparsify import net

    path = tmp_path / "net.onnx"
    path.write_bytes(proto(net()))
    done = run(path, "--n-m", "2:4", "--json", tmp_path / "r.json")
    assert done.returncode == 0, done.stderr
    last = done.stdout.splitlines()[-1]
    # 3,456 and 480 of 4,468 weights are in layers that get zeros, half of them.
    assert last.startswith(f"{tmp_path / 'net.sparse.onnx'}: 44.0 % of the weights are zero, ")
    assert last.endswith("; not faster")
    assert json.loads((tmp_path / "r.json").read_text())["pattern"] == "2:4"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--unstructured", 0.5, "--n-m", "2:4"), "--unstructured and --n-m are two patterns"),
        (("--n-m", "half"), "'half' is no pattern of weights; give --unstructured 0.9 or --n-m 2:4"),
        (("--n-m", "2:4", "--ratio", 0.5), "--ratio removes whole channels"),
        (("--unstructured", 0.5, "--score", "l2"), "unknown score of single weights 'l2'"),
    ],
)
def test_patterns_that_contradict_are_one_line(model: Path, arguments: tuple[object, ...], said: str) -> None:
    done = run(model, *arguments)
    assert done.returncode == 2
    assert said in done.stderr.splitlines()[-1]
