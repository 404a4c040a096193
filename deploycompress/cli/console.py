"""What every command prints: the effective configuration first, progress, a short verdict last, and `--json`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sized
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from deploycompress.errors import EnvironmentLacksError

T = TypeVar("T")

JsonOption = Annotated[
    Path | None, typer.Option("--json", help="Write the result as JSON to this file ('-' for standard output).")
]

_BAR_AFTER_S = 2.0
_LINE_EVERY_S = 10.0


def stdout(text: str = "") -> None:
    """Prints one line of result."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def stderr(text: str) -> None:
    """Prints one line of progress, configuration or error."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def show_settings(command: str, settings: Mapping[str, object]) -> None:
    """Prints the effective configuration of a command before it does any work."""
    stderr(f"deploycompress {command}")
    width = max((len(name) for name in settings), default=0)
    for name, value in settings.items():
        stderr(f"  {name:<{width}}  {'-' if value is None else value}")


def write_json(result: object, path: Path | None) -> None:
    """Writes `result` (a dataclass, pydantic model, or plain data) where `--json` asks for it."""
    if path is None:
        return
    text = json.dumps(_plain(result), indent=2, allow_nan=False, default=str) + "\n"
    if str(path) == "-":
        sys.stdout.write(text)
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise EnvironmentLacksError(f"cannot write the JSON result: {error.strerror}", where=str(path)) from error


def track(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Yields `items`; after two seconds shows a bar on a terminal, or a plain line every ten seconds elsewhere."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    if sys.stderr.isatty():
        yield from _bar(items, description, total)
        return
    started = last = time.monotonic()
    for done, item in enumerate(items):
        now = time.monotonic()
        if now - last >= _LINE_EVERY_S or (last == started and now - started >= _BAR_AFTER_S):
            stderr(f"  {description}: {done}{f' of {total}' if total else ''} ({now - started:.0f} s)")
            last = now
        yield item


def _bar(items: Iterable[T], description: str, total: int | None) -> Iterator[T]:
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, disable=False) as progress:
        task = progress.add_task(description, total=total, visible=False)
        started = time.monotonic()
        for item in items:
            yield item
            progress.update(task, advance=1, visible=time.monotonic() - started >= _BAR_AFTER_S)


def _plain(value: object) -> Any:  # noqa: ANN401 - JSON is untyped
    if hasattr(value, "model_dump"):
        return _plain(value.model_dump(mode="python"))
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return str(value)
    if hasattr(value, "item") and not isinstance(value, str | bytes):
        return _plain(value.item())
    return value
