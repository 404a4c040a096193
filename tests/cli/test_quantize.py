"""`deploycompress quantize` as a user types it: what is printed, what is refused, with which exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deploycompress.cli.app import main
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
