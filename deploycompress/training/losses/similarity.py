"""features of a batch -> |G_s - G_t|_F^2 / B^2, where G = F F^T with rows of length 1: which samples look alike.

Source: Tung & Mori 2019, "Similarity-Preserving Knowledge Distillation", arXiv:1907.09682, equations 1 to 4.
"""

from __future__ import annotations

import torch
from torch.nn import functional


def similarity_preserving(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Squared difference of the similarities within a batch, a mean over its pairs.

    Args:
        student: [batch, ...].
        teacher: [batch, ...], of any other shape; no gradient flows into it.
    """
    return (similarities(student) - similarities(teacher.detach())).square().mean()


def similarities(features: torch.Tensor) -> torch.Tensor:
    """Inner products of the flattened samples, each row scaled to length 1, [batch, batch]."""
    flat = features.flatten(1).float()
    return functional.normalize(flat @ flat.T, dim=1)
