"""network with its first weights, `compress:` of a train step -> the network prepared in place, and the objective.

To add a way: its record in `records/recipe_compressing.py`, and one line here.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from deploycompress.records.recipe_blocks import Block
from deploycompress.records.recipe_compressing import LowRank, Masks, Qat, Units
from deploycompress.training.arrays import Arrays
from deploycompress.training.frozen import Frozen
from deploycompress.training.objective import Objective
from deploycompress.training.offline import Offline
from deploycompress.training.pruning.low_rank import factorise
from deploycompress.training.pruning.masked import Masked
from deploycompress.training.pruning.structured import remove_channels
from deploycompress.training.quantizing.folding import fold_norms
from deploycompress.training.quantizing.prepare import prepare
from deploycompress.training.quantizing.spec import FakeQuant

Regime = Callable[[], Objective]
_FITTED_TO = 256  # samples that the first steps of activations are fitted to


def compression(module: nn.Module, asked: Block | None, data: Arrays, regime: Regime) -> Objective:
    """What a train step minimises; `module` is changed where the compression wants it so.

    Args:
        module: With the weights to begin with.
        asked: How to make it smaller; None for not at all.
        data: Training samples.
        regime: Makes the objective of the regime, once the network has its shape.
    """
    return regime() if asked is None else BUILDERS[type(asked)](module, asked, data, regime)


def _qat(module: nn.Module, asked: Qat, data: Arrays, regime: Regime) -> Objective:
    teacher = Frozen(copy.deepcopy(module))
    fold_norms(module)
    spec = FakeQuant(asked.bits, asked.levels, asked.activation_bits, asked.edge_bits, asked.per_channel, asked.exclude)
    prepare(module, spec, data.names, tuple(tensor[:_FITTED_TO] for tensor in data.inputs))
    return Offline(teacher, temperature=asked.temperature, alpha=asked.alpha)


def _masks(module: nn.Module, asked: Masks, data: Arrays, regime: Regime) -> Objective:
    return Masked(
        module,
        regime(),
        final=asked.sparsity,
        score=asked.score,
        scope=asked.scope,
        begin=asked.begin,
        end=asked.end,
        every=asked.every,
        edges=asked.edges,
        exclude=asked.exclude,
    )


def _units(module: nn.Module, asked: Units, data: Arrays, regime: Regime) -> Objective:
    few = tuple(tensor[:2] for tensor in data.inputs)
    example = dict(zip(data.names, few, strict=True)) if data.names else few[0]
    remove_channels(module, example, asked.ratio, exclude=asked.exclude, round_to=asked.round_to)
    return regime()


def _low_rank(module: nn.Module, asked: LowRank, data: Arrays, regime: Regime) -> Objective:
    factorise(module, asked.share, data.names, tuple(tensor[:_FITTED_TO] for tensor in data.inputs), asked.exclude)
    return regime()


Builder = Callable[[nn.Module, Any, Arrays, Regime], Objective]
BUILDERS: Mapping[type[Block], Builder] = {Qat: _qat, Masks: _masks, Units: _units, LowRank: _low_rank}
