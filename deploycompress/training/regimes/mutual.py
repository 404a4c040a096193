"""two networks -> L = CE(z_1) + KL(p_2 || p_1) + CE(z_2) + KL(p_1 || p_2), each teaching the other while both learn.

Source: Zhang et al. 2018, "Deep Mutual Learning", arXiv:1706.00384, equations 4 to 6, with T = 1.
"""

from __future__ import annotations

import torch
from torch import nn

from deploycompress.training.batches import Batch
from deploycompress.training.losses import IGNORED, cross_entropy, soft_targets
from deploycompress.training.network import logits
from deploycompress.training.objective import Objective
from deploycompress.training.offline import check_same_classes


class Mutual(Objective):
    """A peer is trained beside the model; neither is pulled by its own gradient through the other's answers."""

    def __init__(self, peer: nn.Module) -> None:
        super().__init__()
        self.peer = peer

    def forward(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """The sum of the two networks' losses."""
        one, other = (logits(network, batch.names, batch.inputs) for network in (model, self.peer))
        valid = batch.labels != IGNORED
        return (
            cross_entropy(one, batch.labels)
            + soft_targets(one, other, 1.0, valid=valid)  # no gradient reaches the second argument
            + cross_entropy(other, batch.labels)
            + soft_targets(other, one, 1.0, valid=valid)
        )

    def check(self, model: nn.Module, batch: Batch) -> None:
        """Both answer in the same shape."""
        check_same_classes(self.peer, model, batch)
