"""`deploycompress distill RECIPE`: the distill steps of a recipe, teacher to student."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deploycompress.cli.console import JsonOption, show_settings, stderr, stdout, track, write_json


def distill(
    recipe: Annotated[Path, typer.Argument(help="Recipe (YAML) with a distill step.")],
    step: Annotated[int | None, typer.Option(min=1, help="Only this step of the recipe, counted from 1.")] = None,
    json_path: JsonOption = None,
) -> None:
    """Train a small network on the answers of a large one (Hinton loss), and write its checkpoint as safetensors."""
    from deploycompress.cli.threads import sleep_when_idle

    sleep_when_idle()
    from deploycompress.flow.placing import select
    from deploycompress.records.recipe import Distill, load
    from deploycompress.training.distill import distill as run

    results = []
    for chosen in select(load(recipe), recipe, Distill, step):
        show_settings("distill", chosen.model_dump(exclude={"kind"}))
        teacher = Path(chosen.teacher_checkpoint)
        results.append(run(chosen, Path(chosen.output), teacher_checkpoint=teacher, track=track))
        (stderr if str(json_path) == "-" else stdout)(results[-1].summary())
    write_json(results, json_path)
