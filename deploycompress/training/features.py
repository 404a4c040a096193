"""module, names of submodules -> their outputs during a forward pass.

Source: torch.nn.Module.register_forward_hook.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from deploycompress.errors import UnknownNameError, UsageError


@contextmanager
def tapped(module: nn.Module, names: Iterable[str]) -> Iterator[dict[str, torch.Tensor]]:
    """Fills the yielded dict with {submodule name: its output} while `module` runs inside the block.

    A submodule that runs more than once gives its last output. Of a tuple the first tensor is taken, of a structured
    output (Transformers) its last hidden state or its first value.

    Args:
        module: Any network.
        names: As `named_modules` has them; "" is the network itself.

    Raises:
        UnknownNameError: There is no such submodule; the nearest names are listed.
        UsageError: A submodule returns no tensor.
    """
    known, taps = dict(module.named_modules()), dict[str, torch.Tensor]()
    wanted = tuple(dict.fromkeys(names))
    for name in wanted:
        if name not in known:
            raise UnknownNameError("submodule", name, known, where=type(module).__name__)
    hooks = [known[name].register_forward_hook(_into(taps, name)) for name in wanted]
    try:
        yield taps
    finally:
        for hook in hooks:
            hook.remove()


def _into(taps: dict[str, torch.Tensor], name: str):  # type: ignore[no-untyped-def] # noqa: ANN202 - a hook
    def hook(module: nn.Module, inputs: object, output: object) -> None:
        taps[name] = _first(output, name)

    return hook


def _first(output: object, name: str) -> torch.Tensor:
    if hasattr(output, "last_hidden_state"):
        output = output.last_hidden_state
    elif isinstance(output, dict) and output:
        output = next(iter(output.values()))
    elif isinstance(output, tuple | list) and output:
        output = output[0]
    if not isinstance(output, torch.Tensor):
        raise UsageError(f"it returns a {type(output).__name__}, not a tensor", where=f"submodule {name}")
    return output
