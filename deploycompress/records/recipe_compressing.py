"""`compress:` of a train step <-> one frozen record per way of making a network smaller while it trains.

To add one: its class here and in `AnyCompression`, its builder in `training/compressing.py`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from deploycompress.records.recipe_blocks import Block, flatten


class Qat(Block):
    """Fake quantization while training, under the float network as teacher; `export` then writes the codes trained.

    Attributes:
        bits: Width of weight codes.
        levels: All codes, {-a, 0, a} or {-a, a}; the last two with 2 or 4 bits.
        activation_bits: Width of what quantized layers read; None leaves it float.
        edge_bits: Width in the first and the last layer; None for the same.
        per_channel: One weight scale per output channel.
        exclude: Layers that stay float.
        temperature: Of the distillation from the float network.
        alpha: Weight of the float network against the labels.
    """

    kind: Literal["qat"] = "qat"
    bits: Literal[8, 4, 2] = 8
    levels: Literal["uniform", "ternary", "binary"] = "uniform"
    activation_bits: Literal[8, 4, 2] | None = None
    edge_bits: Literal[8, 4, 2] | None = 8
    per_channel: bool = True
    exclude: tuple[str, ...] = ()
    temperature: float = Field(default=4.0, gt=0)
    alpha: float = Field(default=0.9, ge=0, le=1)


class Masks(Block):
    """Single weights become zero and stay so; the file stays as large until something packs zeros.

    Attributes:
        sparsity: Share of zeros in the end.
        score: What decides which weights go.
        scope: Whether scores are compared within a layer or over all; LAMP always over all.
        begin: Share of the run before anything goes.
        end: Share of the run after which the masks stay.
        every: Updates between two choices.
        edges: Whether the first and the last layer are pruned too.
        exclude: Layers to leave alone.
    """

    kind: Literal["masks"] = "masks"
    sparsity: float = Field(gt=0, lt=1)
    score: Literal["magnitude", "lamp", "movement"] = "magnitude"
    scope: Literal["layer", "global"] = "layer"
    begin: float = Field(default=0.0, ge=0, lt=1)
    end: float = Field(default=0.8, ge=0, le=1)
    every: int = Field(default=100, ge=1)
    edges: bool = False
    exclude: tuple[str, ...] = ()


class Units(Block):
    """Whole channels and neurons go before training, those of least norm in each group; the file is smaller and faster.

    Attributes:
        ratio: Share of the units of every group.
        exclude: Layers whose outputs stay as they are; the last one always does.
        round_to: Units left are a multiple of this.
    """

    kind: Literal["units"] = "units"
    ratio: float = Field(gt=0, lt=1)
    exclude: tuple[str, ...] = ()
    round_to: int = Field(default=1, ge=1)


class LowRank(Block):
    """Linear layers become two thin ones, fitted to the samples; the file is smaller, its speed is to be measured.

    Attributes:
        share: Weights of the two layers over those of the one.
        exclude: Layers to leave alone; the last one always is.
    """

    kind: Literal["low_rank"] = "low_rank"
    share: float = Field(gt=0, lt=1)
    exclude: tuple[str, ...] = ()


AnyCompression = Qat | Masks | Units | LowRank

Compression = Annotated[
    Annotated[AnyCompression, Field(discriminator="kind")],
    BeforeValidator(flatten("a compression", "'qat: {bits: 4}'", bare=True)),
]
