"""`method:` <-> the records of the methods that look into a teacher's layers, outlive it, or fight it.

`alpha` and `temperature` are those of the step: (1 - alpha) CE + alpha T^2 KL is the task that terms on layers stand
beside. Where `weight` is left out, a term gets that at which its gradient is `ratio` times the task's at the start.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from deploycompress.records.recipe_blocks import Block, Frozen


class Pair(Frozen):
    """One layer of each network, as `named_modules` has them."""

    student: str
    teacher: str


class Step(Frozen):
    """Two layers of each network: before and behind a step."""

    student: tuple[str, str]
    teacher: tuple[str, str]


class Weighted(Block):
    """A method with terms beside the task.

    Attributes:
        weight: Of every term; None to be found.
        ratio: Size of a term's gradient as a share of the task's, where the weight is to be found.
    """

    weight: float | None = Field(default=None, gt=0)
    ratio: float = Field(default=1.0, gt=0)


class LayerPairs(Weighted):
    """A method that compares pairs of layers."""

    layers: tuple[Pair, ...] = Field(min_length=1)


class AttentionTransfer(LayerPairs):
    """Where convolutional layers look: energy over the channels."""

    kind: Literal["attention_transfer"] = "attention_transfer"


class SimilarityPreserving(LayerPairs):
    """Which samples of a batch look alike (SP)."""

    kind: Literal["similarity_preserving"] = "similarity_preserving"


class Relational(LayerPairs):
    """Distances and angles among the samples of a batch (RKD)."""

    kind: Literal["relational"] = "relational"


class CorrelationCongruence(LayerPairs):
    """A Gaussian kernel among the samples of a batch (CC)."""

    kind: Literal["correlation_congruence"] = "correlation_congruence"


class ProbabilisticTransfer(LayerPairs):
    """Every sample's share of likeness to the others (PKT)."""

    kind: Literal["probabilistic_transfer"] = "probabilistic_transfer"


class SolutionFlow(Weighted):
    """Products of the channels before and behind a step of the network (FSP)."""

    kind: Literal["solution_flow"] = "solution_flow"
    steps: tuple[Step, ...] = Field(min_length=1)


class FitNets(Block):
    """Hints, then distillation.

    Attributes:
        hint: The teacher's layer.
        guided: The student's.
        share: Of all updates for the hints.
        max_unexplained: Share of the hint's variance that may be left after them; above it the run stops.
        alpha_end: Where `alpha` goes, linearly, during the distillation; where it started by default.
    """

    kind: Literal["fitnets"] = "fitnets"
    hint: str
    guided: str
    share: float = Field(default=0.5, gt=0, lt=1)
    max_unexplained: float = Field(default=0.6, gt=0)
    alpha_end: float | None = Field(default=None, ge=0, le=1)


class TinyBert(Block):
    """Layers of an encoder, then its answers.

    Attributes:
        share: Of all updates for the layers.
        hidden: Embeddings and hidden states count.
        attention: Attention scores count; both nets need as many heads.
    """

    kind: Literal["tinybert"] = "tinybert"
    share: float = Field(default=0.75, gt=0, lt=1)
    hidden: bool = True
    attention: bool = True


class MiniLM(Weighted):
    """Relations of the last layer beside the task.

    Attributes:
        relations: Pairs of q(ueries), k(eys), v(alues): "qq kk vv" (version 2) or "qk vv" (version 1).
        heads: Relation heads; the teacher's attention heads by default.
        teacher_layer: From 0; the last by default.
    """

    kind: Literal["minilm"] = "minilm"
    relations: Literal["qq kk vv", "qk vv"] = "qq kk vv"
    heads: int | None = Field(default=None, ge=1)
    teacher_layer: int | None = Field(default=None, ge=0)


class DistilBert(Weighted):
    """The angle between the last hidden states of all tokens beside the task.

    Attributes:
        copy_layers: The student starts as the teacher with evenly spaced layers.
    """

    kind: Literal["distilbert"] = "distilbert"
    copy_layers: bool = True


class Patient(Weighted):
    """The [CLS] states of the layers below the last, at length 1, beside the task (PKD).

    Attributes:
        last: The teacher's last layers rather than evenly spaced ones.
        copy_layers: The student starts as the first layers of the teacher.
    """

    kind: Literal["pkd"] = "pkd"
    last: bool = False
    copy_layers: bool = True


class BornAgain(Block):
    """One generation: the teacher is the same network, one generation older.

    Attributes:
        form: The teacher's answers (ban), with labels (ban_l), its confidence alone (cwtm), or shuffled doubts (dkpp).
        warm_start: From the teacher's weights rather than new ones.
    """

    kind: Literal["born_again"] = "born_again"
    form: Literal["ban", "ban_l", "cwtm", "dkpp"] = "ban"
    warm_start: bool = False


class Gan(Block):
    """Cross-entropy, the distance of the logits, and a discriminator that tells student from teacher.

    Attributes:
        distance: Weight of the mean |z_s - z_t|.
        adversarial: Weight of passing for the teacher.
        width: Of the discriminator's two hidden layers.
        rate: Its learning rate as a share of the student's; a quick one does harm.
    """

    kind: Literal["gan"] = "gan"
    distance: float = Field(default=1.0, ge=0)
    adversarial: float = Field(default=0.1, ge=0)
    width: int = Field(default=128, ge=1)
    rate: float = Field(default=0.02, gt=0)


class Robust(Block):
    """Adversarially robust distillation: clean answers of a robust teacher at attacked inputs.

    Attributes:
        epsilon: Largest change of a value, in units of the inputs.
        step: Change in one step of the attack; a quarter of epsilon by default.
        steps: Of the attack.
        low: Smallest value of an input.
        high: Largest.
    """

    kind: Literal["robust"] = "robust"
    epsilon: float = Field(default=8 / 255, gt=0)
    step: float | None = Field(default=None, gt=0)
    steps: int = Field(default=10, ge=1)
    low: float = 0.0
    high: float = 1.0
