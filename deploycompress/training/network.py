"""`module:factory` -> torch.nn.Module (and, where the factory gives one, an example input); feed -> logits.

A factory takes nothing and returns a module, or a pair (module, example). An example is a tensor, a tuple of tensors in
the order of `forward`, or a dict of tensors by keyword. A module may offer the same as a method `example_inputs()`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from deploycompress.errors import UsageError
from deploycompress.records.reference import resolve

Example = torch.Tensor | tuple[torch.Tensor, ...] | dict[str, torch.Tensor]


def build(reference: str, *, base: Path | None = None) -> tuple[torch.nn.Module, Example | None]:
    """The network that a factory makes, and its example input where it offers one.

    Raises:
        UsageError: The reference is wrong, the factory fails, or it makes no module.
    """
    factory = resolve(reference, base=base)
    try:
        made = factory() if callable(factory) and not isinstance(factory, torch.nn.Module) else factory
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
