"""`deploycompress run recipe.yaml`: a whole chain by the public commands, each shown before it runs; resumable."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploycompress.cli.console import JsonOption, show_settings, stderr, stdout, write_json

if TYPE_CHECKING:
    from deploycompress.flow.run import StepRun


def run(
    recipe: Annotated[Path, typer.Argument(help="Recipe (YAML).")],
    restart: Annotated[bool, typer.Option("--restart", help="Do every step, also those already done.")] = False,
    json_path: JsonOption = None,
) -> None:
    """Do the steps of a recipe in order; steps whose parameters and files are unchanged since last time are skipped."""
    from deploycompress.flow.run import run as do
    from deploycompress.records.recipe import load

    asked = load(recipe)
    kinds = ", ".join(step.kind for step in asked.steps)
    show_settings("run", {"recipe": recipe, "target": asked.target, "out": recipe.parent / asked.out, "steps": kinds})
    result = do(recipe, from_scratch=restart, announce=_show)
    write = stderr if str(json_path) == "-" else stdout
    ran = [step for step in result.steps if not step.unchanged]
    took = sum(step.seconds for step in ran)
    skipped = len(result.steps) - len(ran)
    write(f"{result.name}: {len(ran)} steps done in {took:.0f} s, {skipped} unchanged; everything is in {result.out}")
    write_json(result, json_path)


def _show(step: StepRun) -> None:
    """The command line of a step before it runs."""
    stderr(f"\n[{step.number}/{step.of}] $ {step.command}{'   (unchanged, skipped)' if step.unchanged else ''}")
