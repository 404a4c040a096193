"""recipe -> objective: which builder makes the objective of which method or regime; plain tables.

To add a method: its record in `records/recipe_methods.py`, its objective, and one line here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

from deploycompress.records import recipe_distilling as records
from deploycompress.records import recipe_regimes
from deploycompress.records.recipe import Distill, Hyperparameters, Train
from deploycompress.records.recipe_blocks import Block
from deploycompress.records.recipe_methods import Hinton, TeacherOnly
from deploycompress.records.recipe_methods import Theseus as TheseusRecord
from deploycompress.training.arrays import Arrays
from deploycompress.training.distillation import builders
from deploycompress.training.frozen import Frozen
from deploycompress.training.objective import LabelsOnly, Objective
from deploycompress.training.offline import Offline
from deploycompress.training.regimes import builders as regimes
from deploycompress.training.regimes.transfer import Partly
from deploycompress.training.replacing.modules import combine
from deploycompress.training.replacing.theseus import Theseus

Builder = Callable[[Frozen, nn.Module, Distill, Arrays], Objective]
"""(teacher, student, step, training data) -> objective; the method's own keys are in `step.method`."""


def _hinton(teacher: Frozen, student: nn.Module, step: Distill, data: Arrays) -> Objective:
    return Offline(teacher, temperature=step.temperature, alpha=step.alpha)


def _teacher_only(teacher: Frozen, student: nn.Module, step: Distill, data: Arrays) -> Objective:
    return Offline(teacher, temperature=step.temperature, alpha=1.0)


def _theseus(teacher: Frozen, student: nn.Module, step: Distill, data: Arrays) -> Objective:
    asked = step.method
    assert isinstance(asked, TheseusRecord)
    combine(teacher.module, student, asked.at, asked.sizes)
    return Theseus(start=asked.start, ramp=asked.ramp)


METHODS: Mapping[type[Block], Builder] = {
    TheseusRecord: _theseus,
    Hinton: _hinton,
    TeacherOnly: _teacher_only,
    records.AttentionTransfer: builders.layer_pairs,
    records.SimilarityPreserving: builders.layer_pairs,
    records.Relational: builders.layer_pairs,
    records.CorrelationCongruence: builders.layer_pairs,
    records.ProbabilisticTransfer: builders.layer_pairs,
    records.SolutionFlow: builders.solution_flow,
    records.FitNets: builders.fitnets,
    records.TinyBert: builders.tinybert,
    records.MiniLM: builders.minilm,
    records.DistilBert: builders.distilbert,
    records.Patient: builders.patient,
    records.BornAgain: builders.born_again,
    records.Gan: builders.gan,
    records.Robust: builders.robust,
    recipe_regimes.SemiSupervised: regimes.semi_supervised,
    recipe_regimes.MultiTask: regimes.multi_task,
}


def distillation(teacher: Frozen, student: nn.Module, step: Distill, data: Arrays) -> Objective:
    """The objective of a distill step; paths in it are whole."""
    return _partly(METHODS[type(step.method)](teacher, student, step, data), student, step)


REGIMES: Mapping[type[Block], Callable[[nn.Module, Train, Arrays], Objective]] = {
    recipe_regimes.Labels: lambda model, step, data: LabelsOnly(),
    recipe_regimes.Tail: regimes.tail,
    recipe_regimes.PreviousAnswers: regimes.ps_kd,
    recipe_regimes.Mutual: regimes.mutual,
    recipe_regimes.WithoutForgetting: regimes.without_forgetting,
}


def training(model: nn.Module, step: Train, data: Arrays) -> Objective:
    """The objective of a train step; paths in it are whole."""
    return _partly(REGIMES[type(step.regime)](model, step, data), model, step)


def _partly(objective: Objective, model: nn.Module, step: Hyperparameters) -> Objective:
    return Partly(objective, model, step.freeze) if step.freeze else objective
