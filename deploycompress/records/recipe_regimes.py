"""`regime:` of a train step, and the regimes of a distill step <-> where a network takes its targets from."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from deploycompress.records.recipe_blocks import Block, flatten


class Labels(Block):
    """From the labels alone."""

    kind: Literal["labels"] = "labels"


class Tail(Block):
    """For the last share `rho` of the run also from a copy of itself, taken when that share begins."""

    kind: Literal["tail"] = "tail"
    rho: float = Field(default=0.5, gt=0, lt=1)
    temperature: float = Field(default=4.0, gt=0)
    alpha: float = Field(default=0.5, ge=0, le=1)


class PreviousAnswers(Block):
    """PS-KD: from its own answers an epoch ago, with a weight that grows to `alpha`."""

    kind: Literal["ps_kd"] = "ps_kd"
    alpha: float = Field(default=0.8, ge=0, le=1)


class Mutual(Block):
    """From a `peer` (factory) that is trained beside it and not written."""

    reads: ClassVar[frozenset[str]] = frozenset({"peer"})
    kind: Literal["mutual"] = "mutual"
    peer: str


class WithoutForgetting(Block):
    """From itself as `initial` has it: outputs are (new task, old task), and the old one is to stay as it was."""

    kind: Literal["without_forgetting"] = "without_forgetting"
    temperature: float = Field(default=2.0, gt=0)
    alpha: float = Field(default=1.0, ge=0)


AnyRegime = Labels | Tail | PreviousAnswers | Mutual | WithoutForgetting

Regime = Annotated[
    Annotated[AnyRegime, Field(discriminator="kind")],
    BeforeValidator(flatten("a regime", "'tail:' with 'rho:'", bare=True)),
]


class SemiSupervised(Block):
    """CE on the data, and the teacher's answers on an unlabelled `pool`, with a weight that rises over `ramp`.

    `targets: hard` takes the teacher's classes where their probability is at least `threshold`; `ratio` samples of the
    pool go with each labelled one. The labels of the pool are not looked at.
    """

    reads: ClassVar[frozenset[str]] = frozenset({"pool"})
    kind: Literal["semi_supervised"] = "semi_supervised"
    pool: str
    targets: Literal["soft", "hard"] = "soft"
    threshold: float = Field(default=0.9, ge=0, le=1)
    ratio: int = Field(default=1, ge=1)
    ramp: float = Field(default=0.3, ge=0, le=1)


class MultiTask(Block):
    """One student, one output per task: the step's teacher is that of the first task, `teachers` those of the others.

    Labels are [samples, tasks], -100 where a sample has none. `anneal` hands over from the teachers to the labels;
    otherwise the labels weigh `share`. At `temperature: 1` of the step the answers are those of the paper.
    """

    reads: ClassVar[frozenset[str]] = frozenset({"teachers", "teacher_checkpoints"})
    kind: Literal["multi_task"] = "multi_task"
    teachers: tuple[str, ...] = Field(min_length=1)
    teacher_checkpoints: tuple[str, ...] = Field(min_length=1)
    anneal: bool = True
    share: float = Field(default=0.5, ge=0, le=1)
