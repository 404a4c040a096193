"""L = (1 - alpha) CE(y, z_s) + alpha T^2 (1/N) sum_n KL(softmax(z_t / T) || softmax(z_s / T)).

T^2 keeps the size of the soft gradient independent of the temperature; the mean runs over samples (or valid tokens),
never over classes. Computed in float32 whatever the logits are, in log space on both sides.

Source: Hinton, Vinyals, Dean 2015, "Distilling the Knowledge in a Neural Network", arXiv:1503.02531, section 2.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from deploycompress.errors import UsageError

IGNORED = -100
"""Label of a position that does not count (padding), as in torch.nn.functional.cross_entropy."""


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean over the positions whose label is not `IGNORED`.

    Args:
        logits: [batch, classes] or [batch, tokens, classes].
        labels: Class indices, [batch] or [batch, tokens].

    Raises:
        UsageError: A label is not below the number of classes, or the shapes do not belong together.
    """
    if logits.shape[:-1] != labels.shape:
        raise UsageError(f"logits of shape {tuple(logits.shape)} do not match labels of shape {tuple(labels.shape)}")
    if int(labels.max()) >= logits.shape[-1]:
        raise UsageError(f"label {int(labels.max())} is beyond the model's {logits.shape[-1]} classes")
    return functional.cross_entropy(logits.flatten(0, -2).float(), labels.flatten(), ignore_index=IGNORED)


def soft_targets(
    student: torch.Tensor, teacher: torch.Tensor, temperature: float, *, valid: torch.Tensor | None = None
) -> torch.Tensor:
    """T^2 KL(teacher || student) at temperature T, mean over samples or valid positions; never below 0 (to rounding).

    Args:
        student: Logits, [batch, classes] or [batch, tokens, classes].
        teacher: Logits of the same shape; no gradient flows into them.
        temperature: T > 0.
        valid: Booleans, [batch] or [batch, tokens]: which positions count; all by default.

    Raises:
        UsageError: Teacher and student differ in shape or number of classes, or no position is valid.
    """
    if student.shape[-1] != teacher.shape[-1]:
        raise UsageError(
            f"the teacher has {teacher.shape[-1]} classes, the student {student.shape[-1]}",
            remedy="distillation by logits needs the same classes in the same order",
        )
    if student.shape != teacher.shape:
        raise UsageError(
            f"teacher logits {tuple(teacher.shape)} and student logits {tuple(student.shape)} differ in shape"
        )
    student, teacher = student.flatten(0, -2).float(), teacher.detach().flatten(0, -2).float()
    if valid is not None:
        student, teacher = student[valid.flatten()], teacher[valid.flatten()]
        if not len(student):
            raise UsageError("the mask leaves no valid position in a batch")
    divergence = functional.kl_div(
        functional.log_softmax(student / temperature, dim=-1),
        functional.log_softmax(teacher / temperature, dim=-1),
        reduction="batchmean",
        log_target=True,
    )
    return temperature**2 * divergence


def hinton(
    student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor, *, temperature: float, alpha: float
) -> torch.Tensor:
    """(1 - alpha) CE + alpha T^2 KL; positions whose label is `IGNORED` count in neither term.

    Raises:
        UsageError: As `cross_entropy` and `soft_targets`.
    """
    soft = soft_targets(student, teacher, temperature, valid=labels != IGNORED)
    return (1 - alpha) * cross_entropy(student, labels) + alpha * soft
