"""two feature maps of each net -> mean (G_s - G_t)^2, where G = F1^T F2 / (H W): how the net solves the step between.

Source: Yim et al. 2017, "A Gift from Knowledge Distillation", CVPR, equations 1 and 2.
"""

from __future__ import annotations

import torch

from deploycompress.errors import UsageError
from deploycompress.training.losses.attention_maps import same_size

Maps = tuple[torch.Tensor, torch.Tensor]
"""Feature maps before and behind a step, [batch, channels, height, width] each."""


def solution_flow(student: Maps, teacher: Maps) -> torch.Tensor:
    """Squared difference of the two flow matrices, a mean over the batch and their entries.

    Args:
        student: Two feature maps.
        teacher: Two feature maps with as many channels; no gradient flows into them.

    Raises:
        UsageError: The channels differ.
    """
    answered, told = flow(*student), flow(*teacher).detach()
    if answered.shape != told.shape:
        raise UsageError(
            f"the student's flow is {answered.shape[1]} x {answered.shape[2]} channels, "
            f"the teacher's {told.shape[1]} x {told.shape[2]}",
            remedy="name layers with the same numbers of channels",
        )
    return (answered - told).square().mean()


def flow(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Products of every channel of `first` with every one of `second`, a mean over places: [batch, first, second]."""
    first, second = same_size(first, second)
    return torch.einsum("bihw,bjhw->bij", first, second) / (first.shape[2] * first.shape[3])
