"""features of a batch -> mean over samples of KL(P_t || P_s), P each sample's share of likeness to the others.

Likeness is (1 + cos) / 2, and the rows are scaled to sum 1. The authors' code averages over pairs: this over B.

Source: Passalis & Tefas 2018, "Learning Deep Representations with Probabilistic Knowledge Transfer", arXiv:1803.10837,
equations 3 to 6.
"""

from __future__ import annotations

import torch
from torch.nn import functional

_SMALLEST = 1e-7


def probabilistic_transfer(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """KL divergence between the likenesses within a batch; never below 0 (to rounding).

    Args:
        student: [batch, ...].
        teacher: [batch, ...], of any other shape; no gradient flows into it.
    """
    told, answered = _shares(teacher.detach()), _shares(student)
    return (told * (told.log() - answered.log())).sum(1).mean()


def _shares(features: torch.Tensor) -> torch.Tensor:
    unit = functional.normalize(features.flatten(1).float(), dim=1)
    likeness = ((1 + unit @ unit.T) / 2).clamp(min=_SMALLEST)
    return likeness / likeness.sum(1, keepdim=True)
