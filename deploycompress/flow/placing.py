"""recipe, its folder -> steps whose paths are whole.

What a step writes lies in `out`; what it reads is the file an earlier step wrote, where the text is the same, and is
relative to the folder of the recipe otherwise.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from deploycompress.errors import UsageError
from deploycompress.records.recipe import Recipe, Step
from deploycompress.records.recipe_blocks import Block
from deploycompress.records.reference import is_reference

_WRITES = frozenset({"output", "json_path", "markdown", "html"})
_READS = frozenset(
    {
        *("model", "data", "eval", "teacher", "teacher_checkpoint", "student", "source", "checkpoint", "initial"),
        *("preprocess", "calib", "models", "labels", "calibration", "tokenizer", "metric"),
    }
)


def placed(recipe: Recipe, folder: Path) -> tuple[Step, ...]:
    """The steps with every path made whole, so that each can run by itself from any folder.

    Args:
        recipe: As read.
        folder: Where its file lies.
    """
    out, written, steps = (folder / recipe.out).resolve(), set[str](), []

    def read(text: str) -> str:
        if text in written:
            return str(out / text)
        place, colon, name = text.rpartition(":")
        if is_reference(text):
            return f"{folder / place}:{name}" if place.endswith(".py") else text
        # "random", a preset or a hub id is no path; neither is what does not exist, and the step will say so.
        return str(folder / text) if not colon and (folder / text).exists() else text

    for step in recipe.steps:
        changes: dict[str, str | tuple[str, ...] | Block] = {}
        for name in type(step).model_fields:
            value = getattr(step, name)
            if name in _WRITES and value is not None:
                changes[name] = str(out / value)
            elif isinstance(value, Block):
                changes[name] = value.placed(read)
            elif name in _READS and isinstance(value, str):
                changes[name] = read(value)
            elif name in _READS and value is not None:
                changes[name] = tuple(read(text) for text in value)
        written.update(step.outputs)
        steps.append(step.model_copy(update=changes))
    return tuple(steps)


S = TypeVar("S", bound=BaseModel)


def select(recipe: Recipe, path: Path, kind: type[S], number: int | None) -> list[S]:
    """The steps of one kind with their paths whole: all of them, or the one that is number `number` of the recipe.

    Raises:
        UsageError: There is none, or that step is of another kind.
    """
    found = {
        place: step for place, step in enumerate(placed(recipe, path.absolute().parent), 1) if isinstance(step, kind)
    }
    if number is None and found:
        return list(found.values())
    if number in found:
        return [found[number]]
    there = ", ".join(f"{place}: {step.kind}" for place, step in enumerate(recipe.steps, 1))
    asked = f"step {number} is no" if number is not None else "there is no"
    raise UsageError(f"{asked} {kind.__name__.lower()} step", where=str(path), remedy=f"its steps are {there}")
