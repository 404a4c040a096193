"""relations between tokens -> mean over heads and tokens of KL(softmax R_teacher || softmax R_student).

R is Q K^T, Q Q^T, K K^T or V V^T of one layer, a head, over sqrt(d): [batch, heads, tokens, tokens] whatever the width
of the layer, so student and teacher need neither the same width nor a projection.

Source: Wang et al. 2020, MiniLM, arXiv:2002.10957, equations 6 and 9; Wang et al. 2021, MiniLMv2, arXiv:2012.15828,
equation 5.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from deploycompress.errors import UsageError


def relation_divergence(student: torch.Tensor, teacher: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """KL divergence of the relations of each real token to the real tokens; never below 0 (to rounding).

    Args:
        student: Relations before the softmax, [batch, heads, tokens, tokens].
        teacher: The same shape; no gradient flows into it.
        mask: [batch, tokens], not zero for real tokens; all by default.

    Raises:
        UsageError: The shapes differ, or no token is real.
    """
    if student.shape != teacher.shape:
        raise UsageError(
            f"the student's relations are {tuple(student.shape)}, the teacher's {tuple(teacher.shape)}",
            remedy="split both into the same number of relation heads",
        )
    student, teacher = student.float(), teacher.detach().float()
    if mask is None:
        mask = student.new_ones(student.shape[0], student.shape[-1])
    real = mask.bool()
    if not real.any():
        raise UsageError("the mask leaves no valid position in a batch")
    padding = ~real[:, None, None, :]
    # The lowest float rather than -inf: a row of a sample that is padding alone would be NaN before it is left out.
    lowest = torch.finfo(torch.float32).min
    student, teacher = (
        functional.log_softmax(relation.masked_fill(padding, lowest), dim=-1) for relation in (student, teacher)
    )
    divergence = (teacher.exp() * (teacher - student)).sum(-1).mean(1)
    return divergence[real].mean()
