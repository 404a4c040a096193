"""`deploycompress targets`: list the shipped profiles, or show one as TOML with the source of each figure."""

from __future__ import annotations

from typing import Annotated

import typer

from deploycompress.cli.console import JsonOption, show_settings, stderr, stdout, write_json


def targets(
    name: Annotated[str | None, typer.Argument(help="Profile to show (default: list all).")] = None,
    json_path: JsonOption = None,
) -> None:
    """List the target profiles, or show one: what the device can run, and where each figure comes from."""
    from deploycompress import targets as profiles
    from deploycompress.cli.tables import render

    show_settings("targets", {"profile": name or "all"})
    write = stderr if str(json_path) == "-" else stdout
    if name is None:
        loaded = [profiles.load(each) for each in profiles.names()]
        rows = [
            (t.name, t.kind, f"{t.quant.activation} x {t.quant.weight}" if t.quant.int8 else "no", t.summary)
            for t in loaded
        ]
        write(render(("target", "kind", "int8", "device"), rows))
        write("use --target NAME, or a TOML file of your own; the default, auto, is the profile of this machine")
        write_json(loaded, json_path)
        return
    target = profiles.load(name)
    for key, value in _flat(target.model_dump()):
        write(f"{key:<28}{value}")
    write_json(target, json_path)


def _flat(values: dict[str, object], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{key}.")
        else:
            shown = (
                ", ".join(map(str, value)) if isinstance(value, tuple | list) else "-" if value is None else str(value)
            )
            rows.append((f"{prefix}{key}", shown))
    return rows
