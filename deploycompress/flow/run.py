"""recipe.yaml -> every step done, each by the public command that a user would type; what is done is not done again.

A finished step is recorded with the hash of its parameters and of the files it read and wrote. A later run skips it
while all three still match; a step that was interrupted left no record and runs again (training goes on from its
snapshot). Each step is a process of its own, so that training weighs on neither memory nor timing of what follows.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploycompress import __version__
from deploycompress.errors import (
    DeployCompressError,
    EnvironmentLacksError,
    GateError,
    InputRejectedError,
    InvalidOutputError,
    UsageError,
)
from deploycompress.flow import commands, host
from deploycompress.flow.placing import placed
from deploycompress.records import recipe as recipes
from deploycompress.records.files import sha256, write_text
from deploycompress.records.recipe import Step
from deploycompress.records.reference import is_reference

_BY_EXIT_CODE: Mapping[int, type[DeployCompressError]] = {
    error.exit_code: error
    for error in (GateError, UsageError, InvalidOutputError, InputRejectedError, EnvironmentLacksError)
}
_STATE_VERSION = 1


@dataclass(frozen=True)
class StepRun:
    """One step of a run.

    Attributes:
        number: Place in the recipe, from 1.
        of: Number of steps.
        command: The command line, ready to paste.
        unchanged: Whether it was skipped because nothing it depends on changed.
        outputs: The files it wrote.
        seconds: How long it took; 0 where skipped or not run yet.
    """

    number: int
    of: int
    command: str
    unchanged: bool
    outputs: tuple[Path, ...]
    seconds: float = 0.0


@dataclass(frozen=True)
class RunResult:
    """What became of every step of a recipe."""

    name: str
    target: str
    out: Path
    steps: tuple[StepRun, ...]


Execute = Callable[[Sequence[str]], int]
"""Arguments of `deploycompress` -> its exit code."""


def in_new_process(arguments: Sequence[str]) -> int:
    """Runs `deploycompress` with these arguments in a process that shares our terminal."""
    return subprocess.run([sys.executable, "-m", "deploycompress", *arguments], check=False).returncode


def run(
    recipe_path: Path,
    *,
    from_scratch: bool = False,
    announce: Callable[[StepRun], None] = lambda step: None,
    execute: Execute = in_new_process,
) -> RunResult:
    """Does the steps of a recipe in order.

    Args:
        recipe_path: The recipe.
        from_scratch: Do every step, whatever was done before.
        announce: Told of each step before it runs or is skipped.
        execute: Runs one command line.

    Raises:
        UsageError: The recipe is wrong.
        DeployCompressError: A step failed, with the exit code of that step; the next run goes on from there.
    """
    recipe_path = recipe_path.absolute()
    recipe = recipes.load(recipe_path)
    target = _target(recipe.target, recipe_path.parent)
    steps = placed(recipe, recipe_path.parent)
    out = (recipe_path.parent / recipe.out).resolve()
    state_path = out / ".deploycompress" / "state.json"
    state = {} if from_scratch else _read(state_path)
    done: list[StepRun] = []
    for number, step in enumerate(steps, start=1):
        arguments = commands.arguments(step, number, recipe, recipe_path, target)
        key, facts = f"{number} {step.kind}", _parameters(step, target)
        outputs = tuple(Path(path) for path in step.outputs)
        unchanged = state.get(key) == _record(facts, step, outputs)
        command = shlex.join(["deploycompress", *arguments])
        this = StepRun(number, len(steps), command, unchanged, outputs)
        announce(this)
        if not unchanged:
            state.pop(key, None)
            started = time.monotonic()
            code = execute(arguments)
            if code != 0:
                raise _failure(code, this)
            this = StepRun(number, len(steps), command, False, outputs, time.monotonic() - started)
            state[key] = _record(facts, step, outputs)
            write_text(state_path, json.dumps({"version": _STATE_VERSION, "steps": state}, indent=2) + "\n")
        done.append(this)
    return RunResult(recipe.name, target, out, tuple(done))


def _target(name: str, folder: Path) -> str:
    """Name or file of the target; "auto" becomes the profile of this machine, so that it is shown and recorded."""
    named = str(folder / name) if name.endswith(".toml") else name
    found = host.resolve(named).name
    return named if named.endswith(".toml") else found


def _failure(code: int, step: StepRun) -> DeployCompressError:
    kind = _BY_EXIT_CODE.get(code, DeployCompressError)
    if code < 0:
        return EnvironmentLacksError(
            f"step {step.number} of {step.of} was killed by signal {-code}", where=step.command
        )
    return kind(
        f"step {step.number} of {step.of} ended with exit code {code}",
        where=step.command,
        remedy="its own message is above; the next run goes on from this step",
    )


def _parameters(step: Step, target: str) -> str:
    """sha256 of everything but files that a step depends on."""
    facts = [__version__, target, step.model_dump(mode="json", by_alias=True)]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _record(parameters: str, step: Step, outputs: Sequence[Path]) -> dict[str, Any]:
    """What must be equal for a step to count as done."""
    return {
        "parameters": parameters,
        "inputs": {str(path): sha256(path) for path in sorted(set(_inputs(step)))},
        "outputs": {str(path): sha256(path) if path.exists() else None for path in outputs},
    }


def _inputs(step: Step) -> Iterator[Path]:
    """The files and folders a step reads; of `file.py:function` the file."""
    written = set(step.outputs)
    for value in step.model_dump(mode="python").values():
        for text in value if isinstance(value, tuple | list) else [value]:
            if not isinstance(text, str) or text in written:
                continue
            path = Path(text.rpartition(":")[0] if is_reference(text) else text)
            if path.exists():
                yield path


def _read(path: Path) -> dict[str, Any]:
    """The steps recorded as done; none where the record is absent, damaged or of another version."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if (
        not isinstance(found, dict)
        or found.get("version") != _STATE_VERSION
        or not isinstance(found.get("steps"), dict)
    ):
        return {}
    return dict(found["steps"])
