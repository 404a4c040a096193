"""features of a batch -> Huber losses between the distances, and the angles, among samples of student and teacher.

    distances  |x_i - x_j| / mean over pairs
    angles     cos of the angle at x_j between x_i and x_k, for all triples: B^3 numbers, so of the first samples only

Source: Park et al. 2019, "Relational Knowledge Distillation", arXiv:1904.05068, equations 4 to 8.
"""

from __future__ import annotations

import torch
from torch.nn import functional

DISTANCE_WEIGHT, ANGLE_WEIGHT = 25.0, 50.0
"""Weights of the authors' code."""

_SMALLEST = 1e-12


def relational(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """25 distances + 50 angles, the weights of the authors."""
    return DISTANCE_WEIGHT * distance_loss(student, teacher) + ANGLE_WEIGHT * angle_loss(student, teacher)


def distance_loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Huber loss between pairwise distances, each a multiple of its own mean.

    Args:
        student: [batch, ...].
        teacher: [batch, ...], of any other shape; no gradient flows into it.
    """
    return functional.smooth_l1_loss(_distances(student), _distances(teacher.detach()))


def angle_loss(student: torch.Tensor, teacher: torch.Tensor, samples: int = 64) -> torch.Tensor:
    """Huber loss between the cosines of the angles in triples of the first `samples`; arguments as `distance_loss`."""
    return functional.smooth_l1_loss(_angles(student[:samples]), _angles(teacher[:samples].detach()))


def _distances(features: torch.Tensor) -> torch.Tensor:
    """[batch, batch]; the mean runs over the pairs of different samples."""
    flat = features.flatten(1).float()
    squares = (flat[:, None] - flat[None]).square().sum(-1)
    apart = ~torch.eye(len(flat), dtype=torch.bool, device=flat.device)
    # The root has no derivative at 0: the diagonal (and equal samples) get a constant.
    distances = torch.where(squares > _SMALLEST, squares.clamp(min=_SMALLEST).sqrt(), 0.0)
    return distances / distances[apart].mean().clamp(min=_SMALLEST)


def _angles(features: torch.Tensor) -> torch.Tensor:
    """Cosine at j between i and k, [batch (j), batch (i), batch (k)]."""
    flat = features.flatten(1).float()
    directions = functional.normalize(flat[None] - flat[:, None], dim=-1)
    return directions @ directions.transpose(1, 2)
