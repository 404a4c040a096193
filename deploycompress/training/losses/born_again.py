"""teacher, labels -> what a born-again student learns from: all of it, its confidence alone, or its shuffled doubts.

    soft   BAN    mean CE(p_teacher, p_student)
    cwtm          sum_b w_b CE(y_b, p_b),  w_b = max p_teacher(b) / sum_u max p_teacher(u): importance weights alone
    dkpp          BAN with the probabilities behind the teacher's first choice permuted for every sample

Source: Furlanello et al. 2018, "Born-Again Neural Networks", arXiv:1805.04770, section 3.
"""

from __future__ import annotations

import torch
from torch.nn import functional


def soft_cross_entropy(student: torch.Tensor, probabilities: torch.Tensor) -> torch.Tensor:
    """Mean of -sum_c p_c log softmax(student)_c.

    Args:
        student: Logits, [batch, classes].
        probabilities: [batch, classes], each row of sum 1; no gradient flows into them.
    """
    return -(probabilities.detach() * functional.log_softmax(student.float(), dim=-1)).sum(-1).mean()


def confidence_weighted(student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy on the labels, each sample weighted by the teacher's highest probability, right or wrong.

    Args:
        student: Logits, [batch, classes].
        teacher: Logits, [batch, classes]; no gradient flows into them.
        labels: [batch].
    """
    confidence = functional.softmax(teacher.detach().float(), dim=-1).amax(-1)
    each = functional.cross_entropy(student.float(), labels, reduction="none")
    return (confidence / confidence.sum() * each).sum()


def permuted(probabilities: torch.Tensor) -> torch.Tensor:
    """Every row with its largest value in place and the others shuffled (by the global generator), [batch, classes]."""
    batch, classes = probabilities.shape
    first = probabilities.argmax(-1, keepdim=True)
    numbers = torch.arange(classes, device=probabilities.device).expand(batch, classes)
    others = numbers[numbers != first].view(batch, classes - 1)
    shuffled = others.gather(1, torch.rand(others.shape, device=others.device).argsort(1))
    return probabilities.scatter(1, others, probabilities.gather(1, shuffled))
