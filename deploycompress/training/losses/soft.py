"""CE(q, p) = -(1/N) sum_n sum_c q_nc log softmax(z)_nc: cross-entropy against probabilities.

Source: Szegedy et al. 2016, arXiv:1512.00567, section 7 (targets that are distributions).
"""

from __future__ import annotations

import torch

from deploycompress.errors import UsageError


def soft_cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean over the samples, in float32; with one-hot targets the cross-entropy on labels.

    Args:
        logits: [batch, classes] or [batch, tokens, classes].
        targets: Probabilities of the same shape; no gradient flows into them.

    Raises:
        UsageError: The shapes differ.
    """
    if logits.shape != targets.shape:
        raise UsageError(f"logits of shape {tuple(logits.shape)} do not match targets of {tuple(targets.shape)}")
    losses = -(targets.detach().float() * logits.float().log_softmax(dim=-1)).sum(dim=-1)
    return losses.mean()
