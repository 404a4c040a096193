"""`deploycompress quantize` as a user types it: what is printed, what is refused, with which exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deploycompress import model as models
from deploycompress.cli.app import main
from deploycompress.flow import not_run
from tests.flow.test_keeping import source as source  # a fixture
from tests.flow.test_quantize import layers_net, saved
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
        source,
        *("--calib", f"{source.with_name('samples.py')}:calibration", "--no-measure"),
        *("--min-agreement", "100%", "--budget", "0"),
    )
    output = source.with_name("float.int8.onnx")
    assert code == 1
    assert f"error: {output}: --min-agreement 100% was not met: same decision on " in err
    assert "the best model found was written all the same" in err
    assert "--min-agreement 100%: NOT MET after " in out
    assert output.exists()


def test_where_int8_is_slower_the_file_holds_the_float_model_and_the_exit_code_says_so(run: Run, source: Path) -> None:
    # Products of 16 x 16 take less time than converting what they read, on any machine.
    code, out, err = run(source, "--calib", f"{source.with_name('samples.py')}:calibration")
    output = source.with_name("float.int8.onnx")
    assert code == 1
    assert (
        f"error: {output}: no layer of this model is faster in int8 on this machine: in int8 the model ran at 0." in err
    )
    assert "--allow-slower keeps int8 for its size" in err
    assert "SQNR inf dB" in out  # the same outputs, to the bit
    assert not any(node.op_type == "QuantizeLinear" for node in models.load(output).graph)


def test_a_limit_that_is_none_is_refused(run: Run, source: Path) -> None:
    code, _, err = run(source, "--calib", "random", "--eval", "d", "--max-drop", "one")
    assert (code, err) == (2, "error: --max-drop: 'one' is no number; write 1% or 0.01\n")


def test_evaluation_samples_without_a_limit_are_refused(run: Run, source: Path) -> None:
    code, _, err = run(source, "--calib", "random", "--eval", "d")
    assert code == 2
    assert "error: evaluation samples need a limit; give --max-drop 1% (of the metric) or --min-agreement" in err


def test_a_dry_run_prints_the_plan_and_writes_no_model(run: Run, source: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    code, out, err = run(
        source, "--calib", f"{source.with_name('samples.py')}:calibration", "--dry-run", "--json", plan
    )
    assert code == 0, err
    assert "none (--dry-run)" in err
    assert "8 bit per channel, " in out
    assert out.splitlines()[-1] == f"{source}: 3 int8 of 3 nodes; nothing was written"
    found = json.loads(plan.read_text())
    assert [node["form"] for node in found["nodes"]] == ["int8"] * 3
    assert {tensor["dtype"] for tensor in found["tensors"]} == {"uint8"}
    assert not list(tmp_path.glob("*.int8.onnx"))


def test_options_of_another_form_are_refused(run: Run, source: Path) -> None:
    assert run(source, "--dynamic", "--ranges", "minmax")[::2] == (
        2,
        "error: --ranges minmax belongs to static int8: dynamic int8 has no ranges; leave it out\n",
    )
    assert "--all-samples belongs to static int8" in run(source, "--dynamic", "--all-samples")[2]
    assert (
        "--layout qoperator belongs to --form static, not to dynamic int8"
        in run(source, "--dynamic", "--layout", "qoperator")[2]
    )


def test_without_a_run_the_verdict_says_what_is_not_known(run: Run, tmp_path: Path) -> None:
    source, found = saved(layers_net(), tmp_path), tmp_path / "result.json"
    code, out, err = run(source, "--form", "weights", "--no-run", "--json", found)
    assert code == 0, err
    assert "nothing (--no-run)" in err
    assert out.splitlines()[-1].endswith(
        "6 tensors as planned, not run: that it runs, its speed and its closeness to the float model are unknown"
    )
    assert "note: " not in out
    assert json.loads(found.read_text())["not_run"] == "--no-run"
    assert source.with_name("float.int4.onnx").exists()


def test_a_model_larger_than_memory_is_not_run_and_a_note_says_why(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(not_run, "available_memory_bytes", lambda: 10_000)
    source = saved(layers_net(), tmp_path)
    code, out, err = run(source, "--dynamic")
    assert code == 0, err
    assert "note: nothing was run, as with --no-run: it takes " in out
    assert " kB, and 10.0 kB of memory are available" in out
    assert "not run: " in out.splitlines()[-1]
    code, out, err = run(source, "--dynamic", "--calib", "random", "--no-measure")  # what needs runs is tried
    assert code == 0, err
    assert "not run: " not in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "static int8 takes the scales of activations from runs on samples, which --no-run excludes; leave it out"),
        (("--dynamic", "--calib", "random"), "--no-run runs nothing, so --calib has no use; leave one of them out"),
        (("--dynamic", "--dry-run"), "--no-run runs nothing, so --dry-run has no use"),
        (("--dynamic", "--min-agreement", "99%"), "--no-run runs nothing, so --min-agreement 99% has no use"),
    ],
)
def test_what_needs_a_run_contradicts_no_run(run: Run, source: Path, arguments: tuple[str, ...], message: str) -> None:
    code, _, err = run(source, "--no-run", *arguments)
    assert (code, message in err.splitlines()[-1]) == (2, True), err


def test_a_dry_run_has_no_limit_to_keep(run: Run, source: Path) -> None:
    code, _, err = run(source, "--dry-run", "--calib", "random", "--min-agreement", "99%")
    assert (code, "--dry-run measures nothing, so --min-agreement 99% has no use" in err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--ranges", "mimax"), 2, "--ranges: unknown range method 'mimax'; did you mean minmax?"),
        (("--exclude", "bb", "--calib", "random"), 2, "--exclude: unknown node or tensor 'bb'; did you mean "),
        (("--min-agreement", "99"), 2, "--min-agreement: '99' is not between 0 and 100 %; write 99% or 0.99"),
        ((), 2, "static int8 needs samples; give --calib DIR, --calibration FILE, or --dynamic for none"),
        (("--calib", "/nowhere"), 4, "/nowhere: there is no such file or folder"),
        (("--calib", "random", "--target", "server-gpu"), 2, "unknown target 'server-gpu'"),
    ],
)
def test_bad_input_is_one_line_with_a_code(
    run: Run, source: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    found, _, err = run(source, *arguments)
    assert found == code
    last = err.splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last
