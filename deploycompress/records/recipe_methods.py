"""`method:` of a distill step <-> one frozen record per method with its own keys.

To add a method: its class here and in `AnyMethod`, its builder in `training/methods.py`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from deploycompress.records.recipe_blocks import Block, by_name, flatten
from deploycompress.records.recipe_compressing import AnyCompression
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


class Theseus(Block):
    """The modules of a list in the student take the places of the teacher's; the rest is the teacher's, frozen.

    Attributes:
        at: Name of the ModuleList or Sequential in both networks.
        sizes: How many of the teacher's modules each of the student's replaces; equal shares by default.
        start: Probability at the beginning that a batch goes through a new module.
        ramp: Share of the run after which all are new.
    """

    kind: Literal["theseus"] = "theseus"
    at: str
    sizes: tuple[int, ...] = ()
    start: float = Field(default=0.5, gt=0, le=1)
    ramp: float = Field(default=0.5, ge=0, le=1)


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
    | Theseus
)

Method = Annotated[
    Annotated[AnyMethod, Field(discriminator="kind")],
    BeforeValidator(flatten("a method", "'hinton: {}'", bare=True)),
]

BLOCKS: dict[str, dict[str, type[Block]]] = {
    "method": by_name(AnyMethod),
    "regime": by_name(AnyRegime),
    "compress": by_name(AnyCompression),
}
"""{key of a step: {name: class}} of every part that is chosen by name."""
