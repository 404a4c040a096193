"""networks -> one whose probabilities are the mean of theirs: log mean softmax(z_i) as logits.

Exported it is the members side by side; distilled into one of them it costs nothing more.

Source: Furlanello et al. 2018, arXiv:1805.04770, section 3 (Born-Again Network Ensembles).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from deploycompress.training import checkpoint, network
from deploycompress.training.network import logits


class Ensemble(nn.Module):
    """The mean of the members' probabilities, as logarithms."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, *inputs: torch.Tensor, **keywords: torch.Tensor) -> torch.Tensor:
        """Logits whose softmax is the mean, [batch, classes]."""
        answers = [
            logits(member, tuple(keywords), inputs or tuple(keywords.values())).log_softmax(-1)
            for member in self.members
        ]
        return torch.stack(answers).logsumexp(0) - math.log(len(answers))


def ensemble(factory: str, checkpoints: Sequence[Path], *, base: Path | None = None) -> Ensemble:
    """The networks of one factory with the weights of several checkpoints.

    Raises:
        UsageError: The factory is wrong, or there is no such file.
        CheckpointRejectedError: A checkpoint is damaged or does not fit.
    """
    members = []
    for path in checkpoints:
        member, _ = network.build(factory, base=base)
        checkpoint.load_into(member, path)
        members.append(member)
    return Ensemble(members)
