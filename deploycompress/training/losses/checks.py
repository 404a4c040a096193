"""Self-tests of the soft loss at the start of a run, on the teacher's own logits: 0 where equal, gradient as derived.

They catch what a reader of a loss curve cannot see: a mean over the classes, a missing T^2, probabilities in place of
log-probabilities.
Source: Hinton, Vinyals, Dean 2015, arXiv:1503.02531, section 2.
"""

from __future__ import annotations

import torch

from deploycompress.errors import UsageError
from deploycompress.training.losses.hinton import soft_targets


def check_soft_loss(teacher: torch.Tensor, temperature: float) -> None:
    """0 at the teacher's logits; gradient (T / N)(softmax(z_s / T) - softmax(z_t / T)) beside them.

    Args:
        teacher: Logits of a few samples, [batch, classes] or [batch, tokens, classes].
        temperature: T > 0.

    Raises:
        UsageError: The logits are not finite, or the loss is not as defined.
    """
    teacher = teacher.detach().float().flatten(0, -2)
    if not torch.isfinite(teacher).all():
        raise UsageError("the teacher's logits are not finite", remedy="look at its checkpoint and at the inputs")
    student = teacher.roll(1, dims=-1).requires_grad_()
    at_teacher = soft_targets(teacher, teacher, temperature).item()
    (gradient,) = torch.autograd.grad(soft_targets(student, teacher, temperature), student)
    with torch.no_grad():
        apart = (student / temperature).softmax(-1) - (teacher / temperature).softmax(-1)
        expected = temperature / len(teacher) * apart
    # float32 softmax of a few thousand classes is exact to 1e-6; the faults named above are factors of 2 and more.
    if abs(at_teacher) > 1e-5 * temperature**2 or not torch.allclose(gradient, expected, rtol=1e-3, atol=1e-5):
        raise UsageError(
            f"the soft loss is not as defined: {at_teacher:.3g} where student and teacher are equal, its gradient off "
            f"by up to {(gradient - expected).abs().max().item():.3g}",
            remedy="please report it with the versions that `deploycompress doctor` prints",
        )
