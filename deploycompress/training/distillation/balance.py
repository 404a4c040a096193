"""two losses -> the weight that gives both gradients of one size: w = ratio |grad task| / |grad term|, clamped.

Weights published for one pair of networks destroy others; the ratio of the gradients at the start carries over.
"""

from __future__ import annotations

from collections.abc import Iterable

import accelerate
import torch
from torch import nn

SMALLEST, LARGEST = 1e-4, 1e6
"""A term that starts with hardly any gradient gets no weight beyond bounds."""


def balanced(
    task: torch.Tensor, term: torch.Tensor, parameters: Iterable[nn.Parameter], *, ratio: float = 1.0
) -> torch.Tensor:
    """The weight of `term`, a scalar in `SMALLEST` to `LARGEST`; the graphs of both losses stay; a mean over processes.

    Args:
        task: The loss that the term stands beside, a scalar.
        term: The loss to weigh, a scalar.
        parameters: Of the network, as far as they are trained.
        ratio: Size of the term's gradient as a share of the task's.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    weight = ratio * gradient_norm(task, trained) / gradient_norm(term, trained)
    weight = torch.nan_to_num(weight, nan=SMALLEST, posinf=LARGEST).clamp(SMALLEST, LARGEST)
    reduced: torch.Tensor = accelerate.utils.reduce(weight, reduction="mean")
    return reduced


def gradient_norm(loss: torch.Tensor, parameters: Iterable[nn.Parameter]) -> torch.Tensor:
    """Euclidean norm of the gradient in the parameters that the loss depends on, a scalar."""
    gradients = torch.autograd.grad(loss, list(parameters), retain_graph=True, allow_unused=True)
    squares = [gradient.float().square().sum() for gradient in gradients if gradient is not None]
    return torch.stack(squares).sum().sqrt()
