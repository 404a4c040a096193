from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploycompress.cli.console import write_json
from deploycompress.errors import InputRejectedError
from deploycompress.flow.optimize import optimize
from deploycompress.flow.steps_file import read_steps
from deploycompress.targets import load
from tests.flow.test_explain import write


def test_steps_come_back_as_they_were_written(tmp_path: Path) -> None:
    target = load("server-cpu").model_copy(update={"threads": 1})
    result = optimize(write("conv_batchnorm", tmp_path), tmp_path / "out.onnx", target=target, measure=False)
    write_json(result, tmp_path / "steps.json")
    assert read_steps(tmp_path / "steps.json") == result.steps
    assert any(step.kept for step in result.steps)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no json", r"it is no JSON; give a file of optimize --json"),
        ("[]", r"it holds no steps; give a file of optimize --json"),
        (
            json.dumps({"steps": [{"name": "Fold"}]}),
            r"its steps are not of this version: 0\.parameters: Field required",
        ),
    ],
)
def test_anything_else_is_rejected_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "steps.json"
    path.write_text(text)
    with pytest.raises(InputRejectedError, match=message):
        read_steps(path)
    with pytest.raises(InputRejectedError, match="cannot be read: No such file"):
        read_steps(tmp_path / "absent.json")
