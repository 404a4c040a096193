"""warnings, log lines and prints of a library -> a list, instead of the user's terminal."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path


class _Collect(logging.Handler):
    def __init__(self, into: list[str]) -> None:
        super().__init__(logging.WARNING)
        self.into = into

    def emit(self, record: logging.LogRecord) -> None:
        self.into.append(_line(record.getMessage()))


@contextlib.contextmanager
def quiet() -> Iterator[list[str]]:
    """Yields a list that gathers, one line each, what would have been shown; what was set up before is restored."""
    said: list[str] = []
    collector, printed = _Collect(said), io.StringIO()
    loggers = [logging.getLogger(name) for name in (None, *logging.root.manager.loggerDict)]
    handlers = [(logger, list(logger.handlers)) for logger in loggers if logger.handlers]
    for logger, _ in handlers:
        logger.handlers[:] = [collector]
    if not logging.root.handlers:
        logging.root.addHandler(collector)
    try:
        with (
            warnings.catch_warnings(record=True) as warned,
            contextlib.redirect_stdout(printed),
            contextlib.redirect_stderr(printed),
        ):
            warnings.simplefilter("always")
            yield said
    finally:
        for logger, before in handlers:
            logger.handlers[:] = before
        logging.root.handlers[:] = [handler for handler in logging.root.handlers if handler is not collector]
        said.extend(
            f"{found.category.__name__} at {Path(found.filename).name}:{found.lineno}: {_line(str(found.message))}"
            for found in warned
        )
        said.extend(_line(line) for line in printed.getvalue().splitlines() if line.strip())
        said[:] = dict.fromkeys(said)


def _line(text: str) -> str:
    return " ".join(text.split())
