"""`deploycompress report` as a user types it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from deploycompress.report import json as json_report
from tests.cli.test_bench import QUICK
from tests.cli.test_bench import model as model  # the fixture
from tests.flow.test_compare import made


def run(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deploycompress", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    path = tmp_path / "old.json"
    path.write_text(json_report.render(made()), encoding="utf-8")
    return path


def test_report_is_shown_and_written_in_every_form(stored: Path, tmp_path: Path) -> None:
    forms = {kind: tmp_path / f"r.{kind}" for kind in ("html", "markdown", "junit", "json")}
    done = run("report", stored, *(part for kind, path in forms.items() for part in (f"--{kind}", path)))
    assert done.returncode == 0, done.stderr
    assert "10.0 ms" in done.stdout
    assert forms["html"].read_text().startswith("<!doctype html>")
    assert forms["junit"].read_text().startswith("<?xml")
    assert forms["markdown"].read_text().startswith("**m**")
    assert json_report.read(forms["json"]) == made()


def test_worse_report_exits_1_only_where_that_was_asked_for(stored: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.json"
    new.write_text(json_report.render(made(11.0)), encoding="utf-8")
    plain, strict = run("report", "compare", stored, new), run("report", "compare", stored, new, "--fail-if-worse")
    assert (plain.returncode, strict.returncode) == (0, 1)
    assert plain.stdout.splitlines()[-1] == "worse: m median, m p95; no difference in 2 of 4 figures"
    assert "2 figures became worse" in strict.stderr.splitlines()[-1]


def test_bench_gates_and_junit_and_replay_of_its_report(model: Path, tmp_path: Path) -> None:
    first, junit = tmp_path / "first.json", tmp_path / "junit.xml"
    limits = ("--fail-if", "p95_ms > 1e6", "--fail-if", "accuracy_drop > 1pt")
    done = run("bench", model, model, *QUICK, *limits, "--json", first, "--junit", junit)
    assert done.returncode == 1
    assert "accuracy_drop was not measured" in done.stderr.splitlines()[-1]
    assert [gate.met for gate in json_report.read(first).gates] == [True, False]
    assert junit.read_text().count("<testcase") == 4
    before = first.read_bytes()
    again = run("report", "replay", first, "--json", tmp_path / "compared.json")
    assert again.returncode == 0, again.stderr
    assert first.read_bytes() == before
    compared = json.loads((tmp_path / "compared.json").read_text())
    assert {found["model"] for found in compared["differences"]} == {"linear (1)", "linear (2)"}
    assert not [note for note in compared["notes"] if "another file" in note]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("report", "gone.json"), 4, "gone.json: cannot be read"),
        (("report", "compare", "gone.json"), 2, "Missing argument"),
        (("bench", "m.onnx", "--fail-if", "p95 > 3"), 2, "unknown figure 'p95'; did you mean p95_ms"),
        (("bench", "m.onnx", "--metric", "f1"), 2, "the metric f1 needs labelled samples; add --eval"),
    ],
)
def test_wrong_use_exits_with_its_code_and_one_line(arguments: tuple[str, ...], code: int, message: str) -> None:
    done = run(*arguments)
    assert done.returncode == code, done.stderr
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_help_of_report_pulls_in_nothing_heavy() -> None:
    code = (
        "import sys; from deploycompress.cli.app import build\n"
        "try: build(['report'])(args=['report', 'compare', '--help'])\n"
        "except SystemExit: print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--fail-if-worse" in done.stdout
    assert not {"numpy", "onnx", "onnxruntime", "rich", "jinja2"} & set(done.stderr.split())
