"""features of a batch -> mean (K_s - K_t)^2, K the Gaussian kernel exp(-gamma |x - y|^2) of unit vectors, as a series.

On unit vectors |x - y|^2 = 2 - 2 s with s = x . y, so K = e^(-2 gamma) sum_p (2 gamma s)^p / p!, cut after p = 2.

Source: Peng et al. 2019, "Correlation Congruence for Knowledge Distillation", arXiv:1904.01802, equations 6 to 9.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional

GAMMA, ORDER = 0.4, 2


def correlation_congruence(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Squared difference of the correlations within a batch, a mean over its pairs.

    Args:
        student: [batch, ...].
        teacher: [batch, ...], of any other shape; no gradient flows into it.
    """
    return (kernel(student) - kernel(teacher.detach())).square().mean()


def kernel(features: torch.Tensor, *, gamma: float = GAMMA, order: int = ORDER) -> torch.Tensor:
    """The Gaussian kernel between the samples to `order` terms beyond the constant, [batch, batch]."""
    unit = functional.normalize(features.flatten(1).float(), dim=1)
    scaled = 2 * gamma * (unit @ unit.T)
    terms = torch.stack([scaled**power / math.factorial(power) for power in range(order + 1)])
    return math.exp(-2 * gamma) * terms.sum(0)
