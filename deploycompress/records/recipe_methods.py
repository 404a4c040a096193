"""`method:` of a distill step <-> one frozen record per method with its own keys.

To add a method: its class here and in `AnyMethod`, its builder in `training/methods.py`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from deploycompress.records.recipe_blocks import Block, by_name, flatten
from deploycompress.records.recipe_distilling import (
    AttentionTransfer,
    BornAgain,
    CorrelationCongruence,
    DistilBert,
    FitNets,
    Gan,
    MiniLM,
    Patient,
    ProbabilisticTransfer,
    Relational,
    Robust,
    SimilarityPreserving,
    SolutionFlow,
    TinyBert,
)
from deploycompress.records.recipe_regimes import AnyRegime, MultiTask, SemiSupervised


class Hinton(Block):
    """(1 - alpha) CE + alpha T^2 KL(teacher || student), with `alpha` and `temperature` of the step."""

    kind: Literal["hinton"] = "hinton"


class TeacherOnly(Block):
    """T^2 KL(teacher || student) alone: the labels of the data are not looked at."""

    kind: Literal["teacher_only"] = "teacher_only"


AnyMethod = (
    Hinton
    | TeacherOnly
    | SemiSupervised
    | MultiTask
    | AttentionTransfer
    | SimilarityPreserving
    | Relational
    | CorrelationCongruence
    | ProbabilisticTransfer
    | SolutionFlow
    | FitNets
    | TinyBert
    | MiniLM
    | DistilBert
    | Patient
    | BornAgain
    | Gan
    | Robust
)

Method = Annotated[
    Annotated[AnyMethod, Field(discriminator="kind")],
    BeforeValidator(flatten("a method", "'hinton: {}'", bare=True)),
]

BLOCKS: dict[str, dict[str, type[Block]]] = {"method": by_name(AnyMethod), "regime": by_name(AnyRegime)}
"""{key of a step: {name: class}} of every part that is chosen by name."""
