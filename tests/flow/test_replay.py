from __future__ import annotations

from pathlib import Path

import pytest

from deploycompress.errors import InputRejectedError, UnsupportedError
from deploycompress.flow.replay import arguments, replay
from tests.flow.test_compare import made


def ran(command: str) -> object:
    return made().model_copy(update={"command": command})


def test_everything_but_output_files_is_kept() -> None:
    command = (
        "deploycompress bench 'a b.onnx' --json old.json --html=x.html --threads 1 --junit j --fail-if 'p95_ms > 2'"
    )
    assert arguments(ran(command)) == ["bench", "a b.onnx", "--threads", "1", "--fail-if", "p95_ms > 2"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("", "it does not say which command made it"),
        ("deploycompress run r.yaml", "made by 'deploycompress run r.yaml'"),
    ],
)
def test_report_of_another_command_is_refused(command: str, message: str) -> None:
    with pytest.raises(UnsupportedError, match=f"only reports of bench can be replayed, and .*{message}"):
        arguments(ran(command))


def test_command_that_gives_no_report_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputRejectedError, match=r"bench gone.onnx: the command ended with exit code 4"):
        replay(ran("deploycompress bench gone.onnx"))
