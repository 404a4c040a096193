"""How a command ends."""

from __future__ import annotations

import pytest
import typer

from deploycompress.cli import app


def test_an_interrupted_command_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def wait() -> None:
        raise KeyboardInterrupt

    interrupted = typer.Typer()
    interrupted.command()(wait)
    monkeypatch.setattr(app, "build", lambda arguments: interrupted)
    monkeypatch.setattr("sys.argv", ["deploycompress"])
    with pytest.raises(SystemExit) as end:
        app.main()
    assert end.value.code == 130
    assert "interrupted" in capsys.readouterr().err
