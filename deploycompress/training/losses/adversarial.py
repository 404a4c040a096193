"""what a discriminator says of logits -> its own loss, and that of the student which wants to pass for the teacher.

The discriminator is an auxiliary classifier: behind logits it names their source (teacher or student) and the class.

    discriminator  -log D(teacher | z_t) - log D(student | z_s) + CE(y, D_class(z_t)) + CE(y, D_class(z_s))
    student        -log D(teacher | z_s) + CE(y, D_class(z_s))

Source: Xu, Hsu, Huang 2017, "Training Shallow and Thin Networks for Acceleration via Knowledge Distillation with
Conditional Adversarial Networks", arXiv:1709.00513, equations 3 to 6; Odena et al. 2017, arXiv:1610.09585.
"""

from __future__ import annotations

import torch
from torch.nn import functional


def discriminating(of_teacher: torch.Tensor, of_student: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Loss of the discriminator.

    Args:
        of_teacher: What it says of the teacher's logits, [batch, 1 + classes]: that they are a teacher's; the class.
        of_student: What it says of the student's (detached) logits.
        labels: [batch].
    """
    sources = functional.softplus(-of_teacher[:, 0]).mean() + functional.softplus(of_student[:, 0]).mean()
    classes = functional.cross_entropy(of_teacher[:, 1:], labels) + functional.cross_entropy(of_student[:, 1:], labels)
    return sources + classes


def passing(of_student: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Loss of a student that would pass for the teacher; arguments as `discriminating`."""
    return functional.softplus(-of_student[:, 0]).mean() + functional.cross_entropy(of_student[:, 1:], labels)
