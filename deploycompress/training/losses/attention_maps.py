"""feature maps -> mean (Q_s - Q_t)^2, where Q = vec(mean over channels of F^2), at length 1 for every sample.

Where a convolutional net looks, whatever its number of channels; maps of other sizes are averaged down to the smaller.

Source: Zagoruyko & Komodakis 2017, "Paying More Attention to Attention", arXiv:1612.03928; the mean of squares of the
authors' code, where equation 2 of the paper has the norm itself.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from deploycompress.errors import UsageError


def attention_transfer(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Mean squared difference of two attention maps.

    Args:
        student: [batch, channels, height, width].
        teacher: [batch, any channels, any height, any width]; no gradient flows into it.

    Raises:
        UsageError: One of them is not a batch of feature maps.
    """
    if student.ndim != 4 or teacher.ndim != 4:
        raise UsageError(
            f"attention maps of shapes {tuple(student.shape)} and {tuple(teacher.shape)}",
            remedy="name layers whose output is [batch, channels, height, width]",
        )
    student, teacher = same_size(student, teacher.detach())
    return (_map(student) - _map(teacher)).square().mean()


def same_size(first: torch.Tensor, second: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both feature maps averaged down to the smaller height and width, in float32."""
    height, width = min(first.shape[2], second.shape[2]), min(first.shape[3], second.shape[3])
    pool = functional.adaptive_avg_pool2d
    return pool(first.float(), (height, width)), pool(second.float(), (height, width))


def _map(features: torch.Tensor) -> torch.Tensor:
    """[batch, height * width], of length 1."""
    return functional.normalize(features.square().mean(1).flatten(1), dim=1)
