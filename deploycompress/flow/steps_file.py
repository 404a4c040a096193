"""JSON of `optimize` -> what each of its rewrites did, for a report of the model it wrote."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from deploycompress.errors import InputRejectedError
from deploycompress.records.steps import StepOutcome

_STEPS = TypeAdapter(tuple[StepOutcome, ...])


def read_steps(path: Path) -> tuple[StepOutcome, ...]:
    """The steps that `optimize --json` wrote, in order.

    Raises:
        InputRejectedError: The file cannot be read, or holds no such steps.
    """
    remedy = "give a file of optimize --json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputRejectedError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except ValueError as error:
        raise InputRejectedError("it is no JSON", where=str(path), remedy=remedy) from error
    if not isinstance(found, dict) or "steps" not in found:
        raise InputRejectedError("it holds no steps", where=str(path), remedy=remedy)
    try:
        return _STEPS.validate_python(found["steps"])
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise InputRejectedError(
            f"its steps are not of this version: {key}: {first['msg']}", where=str(path)
        ) from error
