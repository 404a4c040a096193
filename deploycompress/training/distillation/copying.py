"""teacher's weights -> the student's start: chosen layers, and everything outside of the layers.

Source: Sanh et al. 2019, DistilBERT, arXiv:1910.01108, section 3 (one layer out of two).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from deploycompress.errors import UsageError
from deploycompress.training.distillation.encoder import Encoder


@torch.no_grad()
def copy_layers(student: nn.Module, teacher: nn.Module, own: Encoder, other: Encoder, chosen: Sequence[int]) -> None:
    """Gives every layer of the student the weights of a chosen one of the teacher, and all that is no layer as it is.

    Args:
        student: Changed in place.
        teacher: Of the same class and widths, with more layers.
        own: The student's encoder.
        other: The teacher's.
        chosen: For each layer of the student the number (from 0) of the teacher's.

    Raises:
        UsageError: A tensor has no counterpart of its shape; the student is left as it was.
    """
    source = {f"{layer}.": f"{other.layers[number]}." for layer, number in zip(own.layers, chosen, strict=True)}
    told, copied = teacher.state_dict(), {}
    for name, tensor in student.state_dict().items():
        layer = next((layer for layer in source if name.startswith(layer)), "")
        counterpart = source.get(layer, "") + name.removeprefix(layer)
        if counterpart not in told or told[counterpart].shape != tensor.shape:
            raise UsageError(
                f"the teacher has no tensor of shape {tuple(tensor.shape)} for it",
                where=name,
                remedy="set copy_layers: false",
            )
        copied[name] = told[counterpart]
    student.load_state_dict(copied)
