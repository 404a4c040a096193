"""pairs of layers -> terms that compare their features: attention maps, or relations within the batch.

Source: the losses in `training/losses`, each with its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from deploycompress.records.recipe_distilling import (
    AttentionTransfer,
    CorrelationCongruence,
    LayerPairs,
    ProbabilisticTransfer,
    Relational,
    SimilarityPreserving,
    SolutionFlow,
)
from deploycompress.training.distillation.matching import Outputs, Term
from deploycompress.training.losses.attention_maps import attention_transfer
from deploycompress.training.losses.correlation import correlation_congruence
from deploycompress.training.losses.fsp import solution_flow
from deploycompress.training.losses.pkt import probabilistic_transfer
from deploycompress.training.losses.rkd import relational
from deploycompress.training.losses.similarity import similarity_preserving

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(features of the student, of the teacher) -> loss."""

LOSSES: Mapping[type[LayerPairs], Loss] = {
    AttentionTransfer: attention_transfer,
    SimilarityPreserving: similarity_preserving,
    Relational: relational,
    CorrelationCongruence: correlation_congruence,
    ProbabilisticTransfer: probabilistic_transfer,
}


def pair_terms(method: LayerPairs) -> list[Term]:
    """One term a pair of layers, with the loss of the method."""
    loss = LOSSES[type(method)]

    def compare(student: Outputs, teacher: Outputs, mask: torch.Tensor | None) -> torch.Tensor:
        return loss(student[0], teacher[0])

    return [Term(pair.student, [pair.student], [pair.teacher], compare, weight=method.weight) for pair in method.layers]


def flow_terms(method: SolutionFlow) -> list[Term]:
    """One term a step of the network: its flow from one layer to another."""

    def compare(student: Outputs, teacher: Outputs, mask: torch.Tensor | None) -> torch.Tensor:
        return solution_flow((student[0], student[1]), (teacher[0], teacher[1]))

    return [
        Term(f"{step.student[0]}_{step.student[1]}", step.student, step.teacher, compare, weight=method.weight)
        for step in method.steps
    ]
