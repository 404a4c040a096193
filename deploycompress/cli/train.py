"""`deploycompress train RECIPE`: the train steps of a recipe; a killed run goes on where it stood."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deploycompress.cli.console import JsonOption, show_settings, stderr, stdout, track, write_json


def train(
    recipe: Annotated[Path, typer.Argument(help="Recipe (YAML) with a train step.")],
    step: Annotated[int | None, typer.Option(min=1, help="Only this step of the recipe, counted from 1.")] = None,
    json_path: JsonOption = None,
) -> None:
    """Train PyTorch networks as a recipe says, resumably, and write their checkpoints as safetensors."""
    from deploycompress.cli.threads import sleep_when_idle

    sleep_when_idle()
    from deploycompress.flow.placing import select
    from deploycompress.records.recipe import Train, load
    from deploycompress.training.train import train as run

    results = []
    for chosen in select(load(recipe), recipe, Train, step):
        show_settings("train", chosen.model_dump(exclude={"kind"}))
        results.append(run(chosen, Path(chosen.output), track=track))
        (stderr if str(json_path) == "-" else stdout)(results[-1].summary())
    write_json(results, json_path)
