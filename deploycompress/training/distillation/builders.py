"""recipe -> objective, for the methods of this folder; `training.methods` has the table."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

from deploycompress.errors import UsageError
from deploycompress.records import recipe_distilling as records
from deploycompress.records.recipe import Distill
from deploycompress.records.recipe_blocks import Block
from deploycompress.training.arrays import Arrays
from deploycompress.training.batches import few
from deploycompress.training.distillation.attack import Attack
from deploycompress.training.distillation.born_again import BornAgain
from deploycompress.training.distillation.copying import copy_layers
from deploycompress.training.distillation.encoder import encoder_of, spread
from deploycompress.training.distillation.fitnets import Annealed, FitNets, Hints
from deploycompress.training.distillation.gan import Gan
from deploycompress.training.distillation.layers import flow_terms, pair_terms
from deploycompress.training.distillation.matching import Matching, Term
from deploycompress.training.distillation.phases import Phases
from deploycompress.training.distillation.robust import Robust
from deploycompress.training.distillation.transformers import (
    hidden_terms,
    last_state_terms,
    patient_terms,
    relation_terms,
    score_terms,
)
from deploycompress.training.frozen import Frozen
from deploycompress.training.network import logits
from deploycompress.training.objective import Objective
from deploycompress.training.offline import Offline

_LOOKED_AT = 64
"""Samples that the shape and the mean of a hint are taken from."""

Record = TypeVar("Record", bound=Block)


def layer_pairs(teacher: Frozen, student: nn.Module, step: Distill, data: Arrays) -> Objective:
    """Pairs of layers beside the task."""
    method = _method(step, records.LayerPairs)
    return _beside_task(teacher, pair_terms(method), step, method)


def solution_flow(teacher: Frozen, student: nn.Module, step: Distill, data: Arrays) -> Objective:
    """Flows between layers beside the task."""
    method = _method(step, records.SolutionFlow)
    return _beside_task(teacher, flow_terms(method), step, method)


def fitnets(teacher: Frozen, student: nn.Module, step: Distill, data: Arrays) -> Objective:
    """Hints, the gate, distillation."""
    method = _method(step, records.FitNets)
    last = step.alpha if method.alpha_end is None else method.alpha_end
    hints = Hints(teacher, method.hint, method.guided, student, few(data, _LOOKED_AT))
    distilling = Annealed(teacher, temperature=step.temperature, alpha=step.alpha, last=last)
    return FitNets(hints, distilling, share=method.share, limit=method.max_unexplained)


def tinybert(teacher: Frozen, student: nn.Module, step: Distill, data: Arrays) -> Objective:
    """Layers, then answers.

    Raises:
        UsageError: Neither hidden states nor attention are to count.
    """
    method = _method(step, records.TinyBert)
    own, other = encoder_of(student), encoder_of(teacher.module)
    terms = hidden_terms(own, other) if method.hidden else []
    terms += score_terms(own, other) if method.attention else []
    if not terms:
        raise UsageError("tinybert with neither hidden nor attention has nothing to match", remedy="use hinton")
    distilling = Offline(teacher, temperature=step.temperature, alpha=step.alpha)
    return Phases([Matching(teacher, terms, alpha=None), distilling], [method.share])


def minilm(teacher: Frozen, student: nn.Module, step: Distill, data: Arrays) -> Objective:
    """Relations of the last layer beside the task."""
    method = _method(step, records.MiniLM)
    terms = relation_terms(
        encoder_of(student),
        encoder_of(teacher.module),
        method.relations,
        heads=method.heads,
        layer=method.teacher_layer,
        weight=method.weight,
    )
    return _beside_task(teacher, terms, step, method)


def distilbert(teacher: Frozen, student: nn.Module, step: Distill, data: Arrays) -> Objective:
    """Angles of the last states beside the task; the student starts from every so many-th layer."""
    method = _method(step, records.DistilBert)
    own, other = encoder_of(student), encoder_of(teacher.module)
    terms = last_state_terms(own, other, weight=method.weight)
    if method.copy_layers:
        copy_layers(student, teacher.module, own, other, spread(len(own.layers), len(other.layers)))
    return _beside_task(teacher, terms, step, method)


def patient(teacher: Frozen, student: nn.Module, step: Distill, data: Arrays) -> Objective:
    """[CLS] states beside the task; the student starts as the first layers."""
    method = _method(step, records.Patient)
    own, other = encoder_of(student), encoder_of(teacher.module)
    terms = patient_terms(own, other, last=method.last, weight=method.weight)
    if method.copy_layers:
        copy_layers(student, teacher.module, own, other, tuple(range(len(own.layers))))
    return _beside_task(teacher, terms, step, method)


def born_again(teacher: Frozen, student: nn.Module, step: Distill, data: Arrays) -> Objective:
    """One generation.

    Raises:
        UsageError: A warm start between different networks.
    """
    method = _method(step, records.BornAgain)
    if method.warm_start:
        state = teacher.module.state_dict()
        if {name: t.shape for name, t in state.items()} != {n: t.shape for n, t in student.state_dict().items()}:
            raise UsageError("a warm start needs a student with the teacher's layers", remedy="leave warm_start out")
        student.load_state_dict(state)
    return BornAgain(teacher, method.form)


def gan(teacher: Frozen, student: nn.Module, step: Distill, data: Arrays) -> Objective:
    """A discriminator beside the distance of the logits."""
    method, batch = _method(step, records.Gan), few(data)
    classes = logits(teacher, batch.names, batch.inputs).shape[-1]
    return Gan(
        teacher,
        classes,
        distance=method.distance,
        adversarial=method.adversarial,
        width=method.width,
        rate=method.rate,
    )


def robust(teacher: Frozen, student: nn.Module, step: Distill, data: Arrays) -> Objective:
    """Clean answers at attacked inputs."""
    method = _method(step, records.Robust)
    size = method.epsilon / 4 if method.step is None else method.step
    attack = Attack(method.epsilon, size, method.steps, method.low, method.high)
    return Robust(teacher, attack, temperature=step.temperature, alpha=step.alpha)


def _method(step: Distill, kind: type[Record]) -> Record:
    assert isinstance(step.method, kind)
    return step.method


def _beside_task(teacher: Frozen, terms: list[Term], step: Distill, method: records.Weighted) -> Matching:
    return Matching(teacher, terms, alpha=step.alpha, temperature=step.temperature, ratio=method.ratio)
