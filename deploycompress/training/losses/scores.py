"""attention scores of student and teacher -> mean squared difference over heads and pairs of real tokens.

Scores are Q K^T / sqrt(d) before the softmax. The original code zeroes what is below -100 to be rid of padding; here
the mask says which pairs count, so that scores of any size are compared.

Source: Jiao et al. 2020, TinyBERT, arXiv:1909.10351, equation 7.
"""

from __future__ import annotations

import torch

from deploycompress.errors import UsageError


def score_difference(student: torch.Tensor, teacher: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Mean squared difference of attention scores.

    Args:
        student: [batch, heads, tokens, tokens].
        teacher: The same shape; no gradient flows into it.
        mask: [batch, tokens], not zero for real tokens; all by default.

    Raises:
        UsageError: The shapes differ, or no token is real.
    """
    if student.shape != teacher.shape:
        raise UsageError(
            f"the student's attention scores are {tuple(student.shape)}, the teacher's {tuple(teacher.shape)}",
            remedy="nets with other numbers of heads are compared by relations (minilm)",
        )
    difference = (student.float() - teacher.detach().float()).square().mean(1)
    if mask is None:
        return difference.mean()
    pairs = mask.bool()[:, :, None] & mask.bool()[:, None, :]
    if not pairs.any():
        raise UsageError("the mask leaves no valid position in a batch")
    return difference[pairs].mean()
