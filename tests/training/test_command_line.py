"""train, distill, export and run as a user types them: exit codes, one-line errors, JSON, resumption after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import onnxruntime
import pytest
import torch

from deploycompress.cli import main
from deploycompress.flow.placing import select
from deploycompress.records.recipe import Train, load
from deploycompress.training import checkpoint
from deploycompress.training.train import train

CODE = """
import numpy as np, torch
from torch import nn

def net(width):
    return nn.Sequential(nn.Linear(2, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, 3)), torch.ones(2, 2)

def teacher(): return net(32)
def student(): return net(8)

def points(count, seed):
    x = np.random.default_rng(seed).uniform(-1, 1, (count, 2)).astype(np.float32)
    return {"input": x, "label": (x[:, 0] > 0).astype(np.int64) + (x[:, 1] > 0)}

def data(): return points(200, 0)
def held(): return points(50, 1)
"""

RECIPE = """
name: corners
target: server-cpu-avx2
out: build
steps:
  - train: {model: "code.py:teacher", data: "code.py:data", eval: "code.py:held", output: t.safetensors, epochs: EPOCHS}
  - distill:
      teacher: code.py:teacher
      teacher_checkpoint: t.safetensors
      student: code.py:student
      data: code.py:data
      eval: code.py:held
      output: s.safetensors
      epochs: 3
  - export: {source: "code.py:student", checkpoint: s.safetensors, output: s.onnx, exporter: legacy}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "code.py").write_text(CODE)
    (tmp_path / "recipe.yaml").write_text(RECIPE.replace("EPOCHS", "3"))
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Exit code of the command, in this process."""
    monkeypatch.setattr(sys, "argv", ["deploycompress", *map(str, arguments)])
    with pytest.raises(SystemExit) as info:
        main()
    return int(info.value.code or 0)


def test_train_then_distill_write_checkpoints_and_json(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "train", folder / "recipe.yaml", "--json", folder / "r.json") == 0
    shown = capsys.readouterr()
    assert shown.err.startswith("deploycompress train\n")
    assert "epochs" in shown.err
    assert shown.out.splitlines()[-1].startswith("t.safetensors: 259 parameters, 200 samples, kept epoch ")
    (result,) = json.loads((folder / "r.json").read_text())
    assert result["samples"] == 200
    assert set(checkpoint.load(folder / "build" / "t.safetensors")) >= {"0.weight", "3.bias"}

    assert run(monkeypatch, "distill", folder / "recipe.yaml", "--json", "-") == 0
    (result,) = json.loads(capsys.readouterr().out)
    assert result["teacher_parameters"] == 259
    assert Path(result["student"]["output"]).is_file()


def test_distill_before_the_teacher_is_trained_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "distill", folder / "recipe.yaml") == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith("build/t.safetensors: there is no such checkpoint")


def test_recipe_without_such_a_step_exits_2(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "train", folder / "recipe.yaml", "--step", 3) == 2
    assert "step 3 is no train step; its steps are 1: train, 2: distill, 3: export" in capsys.readouterr().err


def test_export_prints_settings_result_and_json(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    arguments = ("export", "code.py:teacher", "-o", "m.onnx", "--exporter", "legacy", "--json", "m.json")
    assert run(monkeypatch, *arguments) == 0
    shown = capsys.readouterr()
    assert shown.err.startswith("deploycompress export\n")
    assert "TracerWarning" not in shown.err
    assert shown.out.startswith("m.onnx: ")
    assert "any batch, max |onnx - torch| = " in shown.out
    result = json.loads((folder / "m.json").read_text())
    assert result["exporter"] == "legacy"
    assert result["attempts"][0]["said"]  # what the exporter would have printed is kept
    onnxruntime.InferenceSession(str(folder / "m.onnx"), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("code.py:techer", "-o", "m.onnx"), 2, "unknown name 'techer'; did you mean teacher?"),
        (("code.py:teacher", "-o", "m.onnx", "--input", "x=float23[2,2]"), 2, "unknown element type 'float23'"),
        (("code.py:teacher", "-o", "m.onnx", "--checkpoint", "bad.pt"), 4, "bad.pt: the file is empty"),
        (("code.py:teacher", "-o", "m.onnx", "--target", "edge"), 2, "unknown target 'edge'"),
        (("code.py:teacher", "-o", "code.py/m.onnx"), 5, "its folder cannot be written"),
        (
            ("code.py:teacher", "-o", "m.onnx", "--exporter", "optimum"),
            2,
            "optimum exporter does not take a factory",
        ),
    ],
)
def test_export_error_is_one_line_and_leaves_no_file(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(folder)
    (folder / "bad.pt").write_bytes(b"")
    before = sorted(file.name for file in folder.iterdir())
    assert run(monkeypatch, "export", *arguments) == code
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last
    assert [name for name in sorted(file.name for file in folder.iterdir()) if name != "__pycache__"] == before


def test_absent_torch_exits_5_and_names_the_extra(folder: Path) -> None:
    code = "import sys; sys.modules['torch'] = None; from deploycompress.cli import main; main()"
    command = [sys.executable, "-c", code, "export", "code.py:teacher", "-o", "m.onnx"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 5
    assert done.stderr.splitlines()[-1] == "error: torch is not installed; pip install 'deploycompress[train]'"


def test_help_does_not_import_torch() -> None:
    code = (
        "import sys; sys.argv = ['deploycompress', 'COMMAND', '--help']; from deploycompress.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'onnx', 'onnxruntime', 'transformers', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    for command in ("train", "distill", "export", "run"):
        subprocess.run([sys.executable, "-c", code.replace("COMMAND", command)], check=True, capture_output=True)


def test_run_killed_in_training_goes_on_and_ends_as_if_it_had_not_been(folder: Path) -> None:
    text = RECIPE.replace("EPOCHS", "60")
    (folder / "recipe.yaml").write_text(text[: text.index("  - distill")])
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "deploycompress", "run", "recipe.yaml"]
    snapshot = folder / "build" / "t.training" / "snapshot.pt"
    # A session of its own, so that killing it kills the training process too.
    first = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.DEVNULL, start_new_session=True)
    while first.poll() is None and not snapshot.exists():
        time.sleep(0.005)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    assert not (folder / "build" / "t.safetensors").exists()
    assert snapshot.exists()

    second = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert second.returncode == 0, second.stderr
    assert "resumed after epoch " in second.stdout
    third = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert third.stderr.count("(unchanged, skipped)") == 1
    assert "corners: 0 steps done in 0 s, 1 unchanged" in third.stdout

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    (step,) = select(load(folder / "recipe.yaml"), folder / "recipe.yaml", Train, None)
    train(step, folder / "whole.safetensors")
    torch.set_num_threads(before)
    assert (folder / "whole.safetensors").read_bytes() == (folder / "build" / "t.safetensors").read_bytes()
