"""`deploycompress optimize`: exact rewrites for a target, each kept only where it helps."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploycompress.cli.console import JsonOption, show_settings, stderr, stdout, track, write_json
from deploycompress.errors import UsageError

if TYPE_CHECKING:
    from deploycompress.flow.optimize import OptimizeResult
    from deploycompress.records.steps import StepOutcome

_REASONS_SHOWN = 3


class Level(StrEnum):
    """Which passes run."""

    TIDY = "tidy"
    BASIC = "basic"
    FULL = "full"


def optimize(
    model: Annotated[Path, typer.Argument(help="ONNX file to rewrite.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to write (default: MODEL.opt.onnx beside the input).")
    ] = None,
    target: Annotated[str, typer.Option(help="Target profile, a TOML file, or auto for this machine.")] = "auto",
    data: Annotated[
        str | None, typer.Option(help="Samples to compare outputs on: folder, file, module:function (default: random).")
    ] = None,
    preprocess: Annotated[str | None, typer.Option(help="How images become inputs: a preset or a file.")] = None,
    tokenizer: Annotated[Path | None, typer.Option(help="Tokenizer file for text samples.")] = None,
    level: Annotated[
        Level,
        typer.Option(
            help="tidy: nothing stored or computed twice, nothing unused. basic: also constants folded, no-ops gone; "
            "outputs equal bit for bit. full: also arithmetic moved into weights, outputs equal up to rounding."
        ),
    ] = Level.FULL,
    skip: Annotated[list[str] | None, typer.Option(help="Leave this pass out (may be given several times).")] = None,
    fix_dim: Annotated[
        list[str] | None, typer.Option(help="Fix a symbolic dimension, NAME=LENGTH (may be given several times).")
    ] = None,
    keep_output: Annotated[
        list[str] | None, typer.Option(help="Keep this output and take the others off (may be given several times).")
    ] = None,
    no_measure: Annotated[bool, typer.Option("--no-measure", help="Judge by outputs, nodes and bytes alone.")] = False,
    json_path: JsonOption = None,
) -> None:
    """Rewrite a model into an equal one with fewer nodes and bytes; every step is measured, kept or taken back."""
    from deploycompress.flow.host import described, resolve
    from deploycompress.flow.optimize import optimize as run

    chosen = resolve(target)
    output = output or model.with_name(f"{model.stem}.opt.onnx")
    dims = _dimensions(fix_dim or [])
    settings = {
        "model": model,
        "output": output,
        "target": described(target, chosen),
        "data": data or "random",
        "preprocess": preprocess,
        "level": level.value,
        "skip": ", ".join(skip or []) or None,
        "fixed dimensions": ", ".join(f"{name}={length}" for name, length in dims.items()) or None,
        "outputs kept": ", ".join(keep_output or []) or None,
        "latency": "not measured" if no_measure else "measured, interleaved",
    }
    show_settings("optimize", settings)
    result = run(
        model,
        output,
        target=chosen,
        data=data,
        preprocess=preprocess,
        tokenizer=tokenizer,
        level=level.value,
        skip=skip or [],
        fix_dims=dims,
        keep_outputs=keep_output or [],
        measure=not no_measure,
        track=track,
    )
    _print(result, stderr if str(json_path) == "-" else stdout)
    write_json(result, json_path)


def _dimensions(texts: list[str]) -> dict[str, int]:
    """`["batch=1"]` -> `{"batch": 1}`."""
    dims: dict[str, int] = {}
    for text in texts:
        name, equals, length = text.rpartition("=")
        if not equals or not name or not length.isdigit():
            raise UsageError(f"--fix-dim wants NAME=LENGTH, not {text!r}", remedy="e.g. --fix-dim batch=1")
        dims[name] = int(length)
    return dims


def _print(result: OptimizeResult, write: Callable[[str], None]) -> None:
    from deploycompress.cli.tables import render

    rows = [
        (
            step.name,
            "kept" if step.kept else "-",
            len(step.changes),
            step.reason,
        )
        for step in result.steps
        if step.changes
    ]
    idle = [step.name for step in result.steps if not step.changes]
    if rows:
        write(render(("pass", "", "changes", "bought, or why it was taken back"), rows))
    refused = [row for step in result.steps for row in _refused(step)]
    if refused:
        write(render(("pass", "refused", "reason"), refused))
    if idle:
        write(f"found nothing to change: {', '.join(idle)}")
    write(f"{result.output}: {result.verdict}")


def _refused(step: StepOutcome) -> list[tuple[str, int, str]]:
    """The reasons of one step, each once with its count; the long tail in one row."""
    counts = step.refusal_counts
    rows = [(step.name, count, reason) for reason, count in counts[:_REASONS_SHOWN]]
    rest = counts[_REASONS_SHOWN:]
    if rest:
        rows.append((step.name, sum(count for _, count in rest), f"{len(rest)} other reasons, all in --json"))
    return rows
