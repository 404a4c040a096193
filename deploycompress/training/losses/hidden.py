"""student states, teacher states -> how far apart they are: squared, as a share of variance, or by angle.

    squared      mean (s - t)^2                       TinyBERT's hidden and embedding terms (after a projection)
    unexplained  sum (s - t)^2 / sum (t - mean t)^2   the same without units: 1 is what a constant guess reaches
    angle        mean 1 - cos(s, t)                   DistilBERT; PKD's |s/|s| - t/|t||^2 is twice this

Means run over the valid positions alone, so that padding neither counts nor dilutes. Computed in float32.

Source: Jiao et al. 2020, TinyBERT, arXiv:1909.10351, equations 8 and 9; Sun et al. 2019, PKD, arXiv:1908.09355,
equation 7; Sanh et al. 2019, DistilBERT, arXiv:1910.01108, section 2.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from deploycompress.errors import UsageError

_SMALLEST = 1e-12


def squared(student: torch.Tensor, teacher: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Mean squared difference over valid positions and channels.

    Args:
        student: [batch, channels] or [batch, tokens, channels].
        teacher: The same shape; no gradient flows into it.
        mask: [batch] or [batch, tokens], not zero where the position counts; all by default.

    Raises:
        UsageError: The shapes differ, or no position is valid.
    """
    student, teacher = _valid(student, teacher, mask)
    return (student - teacher).square().mean()


def unexplained(student: torch.Tensor, teacher: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Share of the teacher's variance over the valid positions that remains unexplained; arguments as `squared`.

    Raises:
        UsageError: As `squared`.
    """
    student, teacher = _valid(student, teacher, mask)
    variance = (teacher - teacher.mean(0)).square().sum()
    return (student - teacher).square().sum() / variance.clamp(min=_SMALLEST)


def angle(student: torch.Tensor, teacher: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Mean of 1 - cosine over the valid positions, 0 to 2; arguments as `squared`.

    Raises:
        UsageError: As `squared`.
    """
    student, teacher = _valid(student, teacher, mask)
    return 1 - functional.cosine_similarity(student, teacher, dim=-1).mean()


def _valid(
    student: torch.Tensor, teacher: torch.Tensor, mask: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The vectors of the valid positions, [positions, channels], in float32."""
    if student.shape != teacher.shape:
        raise UsageError(
            f"the student's states are {tuple(student.shape)}, the teacher's {tuple(teacher.shape)}",
            remedy="states of other widths need a projection",
        )
    student, teacher = student.flatten(0, -2).float(), teacher.detach().flatten(0, -2).float()
    if mask is not None:
        valid = mask.flatten().bool()
        student, teacher = student[valid], teacher[valid]
    if not len(student):
        raise UsageError("the mask leaves no valid position in a batch")
    return student, teacher
