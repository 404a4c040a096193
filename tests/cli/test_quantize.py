"""`deploycompress quantize` as a user types it: what is printed, what is refused, with which exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deploycompress.cli.app import main
from tests.flow.test_keeping import source as source  # a fixture
from tests.flow.test_quantize import saved
from tests.quantization.nets import residual_net

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Exit code, standard output and standard error of `deploycompress quantize ARGUMENTS`."""

    def typed(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["deploycompress", "quantize", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return typed


def test_a_misspelt_form_names_the_nearest(run: Run, tmp_path: Path) -> None:
    code, _, err = run(saved(residual_net(), tmp_path), "--form", "statik")
    assert (code, err) == (2, "error: --form: unknown form 'statik'; did you mean static?\n")


def test_two_forms_contradict(run: Run, tmp_path: Path) -> None:
    code, _, err = run(saved(residual_net(), tmp_path), "--dynamic", "--form", "static")
    assert (code, err) == (2, "error: --dynamic and --form static contradict each other; leave one of them out\n")


def test_a_missed_limit_exits_with_1_and_the_file_is_there(run: Run, source: Path) -> None:
    code, out, err = run(
        source, "--calib", f"{source.with_name('samples.py')}:calibration", "--min-agreement", "100%", "--budget", "0"
    )
    output = source.with_name("float.int8.onnx")
    assert code == 1
    assert f"error: {output}: --min-agreement 100% was not met: same decision on " in err
    assert "the best model found was written all the same" in err
    assert "--min-agreement 100%: NOT MET after " in out
    assert output.exists()


def test_a_limit_that_is_none_is_refused(run: Run, source: Path) -> None:
    code, _, err = run(source, "--calib", "random", "--eval", "d", "--max-drop", "one")
    assert (code, err) == (2, "error: --max-drop: 'one' is no number; write 1% or 0.01\n")


def test_evaluation_samples_without_a_limit_are_refused(run: Run, source: Path) -> None:
    code, _, err = run(source, "--calib", "random", "--eval", "d")
    assert code == 2
    assert "error: evaluation samples need one limit; give --max-drop 1% (of the metric) or --min-agreement" in err


def test_a_dry_run_prints_the_plan_and_writes_no_model(run: Run, source: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    code, out, err = run(
        source, "--calib", f"{source.with_name('samples.py')}:calibration", "--dry-run", "--json", plan
    )
    assert code == 0, err
    assert "none (--dry-run)" in err
    assert "8 bit per channel, nearest" in out
    assert out.splitlines()[-1] == f"{source}: 3 int8 of 3 nodes; nothing was written"
    found = json.loads(plan.read_text())
    assert [node["form"] for node in found["nodes"]] == ["int8"] * 3
    assert {tensor["dtype"] for tensor in found["tensors"]} == {"uint8"}
    assert not list(tmp_path.glob("*.int8.onnx"))
