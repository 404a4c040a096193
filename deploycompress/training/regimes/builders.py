"""records of a recipe -> objectives of the regimes; paths in the records are whole."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from deploycompress.errors import UsageError
from deploycompress.records import recipe_regimes as records
from deploycompress.records.recipe import Distill, Train
from deploycompress.records.recipe_blocks import Block
from deploycompress.training import arrays, checkpoint, network
from deploycompress.training.arrays import Arrays
from deploycompress.training.batches import few
from deploycompress.training.frozen import Frozen
from deploycompress.training.objective import Objective
from deploycompress.training.regimes.multitask import MultiTask
from deploycompress.training.regimes.mutual import Mutual
from deploycompress.training.regimes.previous import Previous
from deploycompress.training.regimes.semi_supervised import SemiSupervised
from deploycompress.training.regimes.tail import Tail
from deploycompress.training.regimes.transfer import WithoutForgetting


def semi_supervised(teacher: Frozen, student: nn.Module, step: Distill, data: Arrays) -> Objective:
    """As `records.SemiSupervised` says; the pool is loaded here."""
    method = _as(records.SemiSupervised, step.method)
    return SemiSupervised(
        teacher,
        arrays.load(method.pool),
        targets=method.targets,
        threshold=method.threshold,
        ratio=method.ratio,
        ramp=method.ramp,
        temperature=step.temperature,
    )


def multi_task(teacher: Frozen, student: nn.Module, step: Distill, data: Arrays) -> Objective:
    """As `records.MultiTask` says; the teachers of the further tasks are loaded here."""
    method = _as(records.MultiTask, step.method)
    if len(method.teachers) != len(method.teacher_checkpoints):
        raise UsageError(
            f"{len(method.teachers)} teachers have {len(method.teacher_checkpoints)} checkpoints",
            remedy="give teacher_checkpoints in the order of teachers",
        )
    others = []
    for factory, path in zip(method.teachers, method.teacher_checkpoints, strict=True):
        module, _ = network.build(factory)
        checkpoint.load_into(module, Path(path))
        others.append(Frozen(module))
    return MultiTask([teacher, *others], anneal=method.anneal, share=method.share, temperature=step.temperature)


def tail(model: nn.Module, step: Train, data: Arrays) -> Objective:
    """As `records.Tail` says."""
    regime = _as(records.Tail, step.regime)
    return Tail(model, rho=regime.rho, temperature=regime.temperature, alpha=regime.alpha)


def ps_kd(model: nn.Module, step: Train, data: Arrays) -> Objective:
    """As `records.PreviousAnswers` says; the network is asked once for its number of classes."""
    batch = few(data)
    with torch.no_grad():
        classes = network.logits(model.eval(), batch.names, batch.inputs).shape[-1]
    return Previous(len(data), classes, step.epochs, alpha=_as(records.PreviousAnswers, step.regime).alpha)


def mutual(model: nn.Module, step: Train, data: Arrays) -> Objective:
    """As `records.Mutual` says; the peer is made here."""
    peer, _ = network.build(_as(records.Mutual, step.regime).peer)
    return Mutual(peer)


def without_forgetting(model: nn.Module, step: Train, data: Arrays) -> Objective:
    """As `records.WithoutForgetting` says."""
    regime = _as(records.WithoutForgetting, step.regime)
    if step.initial is None:
        raise UsageError("without_forgetting has nothing to keep", remedy="give initial, the checkpoint to start from")
    before = Frozen(copy.deepcopy(model))
    return WithoutForgetting(before, temperature=regime.temperature, alpha=regime.alpha)


B = TypeVar("B", bound=Block)


def _as(kind: type[B], block: Block) -> B:
    assert isinstance(block, kind)  # the tables say so
    return block
