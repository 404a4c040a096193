"""What a library says is gathered, and the terminal and the loggers are as before."""

from __future__ import annotations

import logging
import sys
import warnings

import pytest

from deploycompress.training.quiet import quiet


def test_warnings_logs_and_prints_are_gathered(capfd: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("deploycompress.test.quiet")
    handler = logging.StreamHandler()
    logger.addHandler(handler)
    with quiet() as said:
        warnings.warn("old\n  call", FutureWarning, stacklevel=1)
        logger.warning("careful %d", 3)
        print("hello")  # noqa: T201
        print("oh dear", file=sys.stderr)  # noqa: T201
        print("hello")  # noqa: T201
    assert sorted(line.split(" at ")[0] for line in said) == ["FutureWarning", "careful 3", "hello", "oh dear"]
    assert next(line for line in said if line.startswith("FutureWarning")).endswith(": old call")
    assert "at test_quiet.py:" in " ".join(said)
    assert logger.handlers == [handler]
    logger.removeHandler(handler)
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


def test_failure_inside_is_raised_and_everything_restored() -> None:
    root = list(logging.root.handlers)

    def fail() -> None:
        with quiet():
            raise KeyError("x")

    with pytest.raises(KeyError):
        fail()
    assert logging.root.handlers == root
