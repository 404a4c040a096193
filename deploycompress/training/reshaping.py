"""checkpoint of a network that was compressed, network as its factory makes it -> the network in the checkpoint's form.

Removed units, layers in two factors and quantizers are all told by the state dict itself; a network that was not
compressed is left alone.
"""

from __future__ import annotations

from pathlib import Path

from torch import nn

from deploycompress.training import checkpoint
from deploycompress.training.pruning.low_rank import refactorise
from deploycompress.training.pruning.restoring import resize
from deploycompress.training.quantizing.restoring import restore


def reshape(module: nn.Module, path: Path, *, trust: bool = False) -> None:
    """Brings `module` into the form of the checkpoint, in place; its weights are still to be loaded.

    Raises:
        UsageError: There is no such file.
        CheckpointRejectedError: Damaged, or it would run code.
    """
    state = checkpoint.load(path, trust=trust)
    refactorise(module, state)  # makes layers that may have lost units since
    resize(module, state)
    restore(module, state)
