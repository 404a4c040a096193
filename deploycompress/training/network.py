"""`module:factory` -> torch.nn.Module (and, where the factory gives one, an example input); feed -> logits.

A factory takes nothing and returns a module, or a pair (module, example). An example is a tensor, a tuple of tensors in
the order of `forward`, or a dict of tensors by keyword. A module may offer the same as a method `example_inputs()`.
The factory of a student may have optional parameters `teacher` (the trained module) and `data` (the training samples,
a dict of tensors): a student that starts as a part of its teacher is cut out there.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from deploycompress.errors import UsageError
from deploycompress.records.reference import resolve

Example = torch.Tensor | tuple[torch.Tensor, ...] | dict[str, torch.Tensor]


def build(
    reference: str, *, base: Path | None = None, offered: Mapping[str, object] | None = None
) -> tuple[torch.nn.Module, Example | None]:
    """The network that a factory makes, and its example input where it offers one.

    Args:
        reference: `module:factory` or `file.py:factory`.
        base: Folder that it is looked up from.
        offered: What the factory is given where it has parameters of these names.

    Raises:
        UsageError: The reference is wrong, the factory fails, or it makes no module.
    """
    factory = resolve(reference, base=base)
    try:
        is_factory = callable(factory) and not isinstance(factory, torch.nn.Module)
        made = factory(**_asked_for(factory, offered or {})) if is_factory else factory
    except Exception as error:
        raise UsageError(f"calling it raised {type(error).__name__}: {error}", where=reference) from error
    module, example = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(module, torch.nn.Module):
        raise UsageError(
            f"it made a {type(module).__name__}",
            where=reference,
            remedy="return a torch.nn.Module, or (module, example)",
        )
    if example is None and callable(getattr(module, "example_inputs", None)):
        example = module.example_inputs()  # type: ignore[operator]
    return module, example


def _asked_for(factory: Callable[..., object], offered: Mapping[str, object]) -> dict[str, object]:
    parameters = inspect.signature(factory).parameters if offered else {}
    return {name: value for name, value in offered.items() if name in parameters}


def logits(module: torch.nn.Module, names: Sequence[str], inputs: Sequence[torch.Tensor]) -> torch.Tensor:
    """One forward pass; of a structured output (Transformers) its `logits`, of a tuple the first tensor.

    Raises:
        UsageError: The network returns no tensor of at least two axes.
    """
    output: Any = module(**dict(zip(names, inputs, strict=True))) if names else module(*inputs)
    if hasattr(output, "logits"):
        output = output.logits
    elif isinstance(output, tuple | list) and output:
        output = output[0]
    if not isinstance(output, torch.Tensor) or output.ndim < 2:
        raise UsageError(
            f"{type(module).__name__} returns a {type(output).__name__}", remedy="return logits of [batch, classes]"
        )
    return output
