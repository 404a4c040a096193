"""Terms on layers: what they see, how they are weighed, what the start-up check refuses; resumed runs are exact."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from deploycompress.errors import UnknownNameError, UsageError
from deploycompress.records.recipe import Hyperparameters
from deploycompress.training.distillation.encoder import encoder_of
from deploycompress.training.distillation.matching import Matching, Outputs, Term, trimmed
from deploycompress.training.distillation.transformers import hidden_terms, relation_terms
from deploycompress.training.frozen import Frozen
from deploycompress.training.loop import fit
from deploycompress.training.losses import hinton
from deploycompress.training.losses.hidden import squared
from deploycompress.training.losses.similarity import similarity_preserving
from deploycompress.training.network import logits
from tests.training.distillation.nets import Encoder, convolutional, images, sentences, whole

BATCH = whole(images())


def similar(student: Outputs, teacher: Outputs, mask: torch.Tensor | None) -> torch.Tensor:
    return similarity_preserving(student[0], teacher[0])


def similarity(weight: float | None = None) -> Term:
    return Term("similarity", ["3"], ["3"], similar, weight=weight)


def norm_of_gradient(loss: torch.Tensor, model: nn.Module) -> float:
    gradients = torch.autograd.grad(loss, list(model.parameters()), retain_graph=True, allow_unused=True)
    return math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients if gradient is not None))


def test_loss_is_the_task_and_the_weighted_term() -> None:
    teacher, student = convolutional(seed=1), convolutional(3, seed=2)
    value = Matching(Frozen(teacher), [similarity(7.0)], alpha=0.3, temperature=2.0)(student, BATCH)
    features = [net[:4](BATCH.inputs[0]) for net in (student, teacher)]
    task = hinton(student(BATCH.inputs[0]), teacher(BATCH.inputs[0]), BATCH.labels, temperature=2.0, alpha=0.3)
    torch.testing.assert_close(value, task + 7 * similarity_preserving(*features))


@pytest.mark.parametrize("ratio", [1.0, 0.25])
def test_weight_that_is_found_makes_the_gradients_of_one_size_and_stays(ratio: float) -> None:
    teacher, student = convolutional(seed=1), convolutional(3, seed=2)
    objective = Matching(Frozen(teacher), [similarity()], alpha=0.0, ratio=ratio)
    objective(student, BATCH)
    weight = objective.figures()["weight_similarity"]
    task = nn.functional.cross_entropy(student(BATCH.inputs[0]), BATCH.labels)
    term = similarity_preserving(*(net[:4](BATCH.inputs[0]) for net in (student, teacher)))
    assert weight * norm_of_gradient(term, student) == pytest.approx(ratio * norm_of_gradient(task, student), rel=1e-4)
    objective(student, whole(images(seed=5)))
    assert objective.figures()["weight_similarity"] == weight


def test_term_without_gradient_gets_a_bounded_weight() -> None:
    teacher = convolutional(seed=1)
    objective = Matching(Frozen(teacher), [similarity()])
    student = convolutional(seed=1)
    loss = objective(student, BATCH)
    assert objective.figures()["weight_similarity"] <= 1e6
    assert torch.isfinite(loss)


def test_given_weight_stays_beside_one_that_is_found() -> None:
    given, found = similarity(7.0), Term("found", ["1"], ["1"], similar)
    objective = Matching(Frozen(convolutional(seed=1)), [given, found])
    objective(convolutional(3), BATCH)
    assert objective.figures()["weight_similarity"] == 7
    assert objective.figures()["weight_found"] > 0


def test_weight_of_a_faint_term_ends_at_its_bound() -> None:
    def faint(student: Outputs, teacher: Outputs, mask: torch.Tensor | None) -> torch.Tensor:
        return 1e-12 * similar(student, teacher, mask)

    objective = Matching(Frozen(convolutional(seed=1)), [Term("faint", ["3"], ["3"], faint)])
    objective(convolutional(3), BATCH)
    assert objective.figures()["weight_faint"] == 1e6


def test_weight_is_not_found_where_nothing_is_learned() -> None:
    objective = Matching(Frozen(convolutional(seed=1)), [similarity()])
    with torch.no_grad():
        objective(convolutional(3), BATCH)
    assert math.isnan(objective.figures()["weight_similarity"])


def test_weight_to_be_found_without_task_is_refused() -> None:
    with pytest.raises(UsageError, match="no task to weigh the terms by; give every term its weight"):
        Matching(Frozen(convolutional()), [similarity()], alpha=None)


def test_unknown_layer_is_named_with_the_nearest() -> None:
    objective = Matching(Frozen(Encoder()), [Term("x", ["encoder.layers.1"], ["encoder.layer.1"], similar)])
    with pytest.raises(UnknownNameError, match=r"unknown submodule 'encoder.layers.1'; did you mean encoder.layer.1"):
        objective.check(Encoder(), whole(sentences()))


def test_comparison_that_is_not_zero_between_equals_is_refused() -> None:
    def broken(student: Outputs, teacher: Outputs, mask: torch.Tensor | None) -> torch.Tensor:
        return similarity_preserving(student[0], teacher[0] + torch.arange(len(teacher[0]))[:, None, None, None])

    objective = Matching(Frozen(convolutional()), [Term("broken", ["1"], ["1"], broken)])
    with pytest.raises(UsageError, match=r"broken: the loss between the teacher and itself is 0\.\d+"):
        objective.check(convolutional(), BATCH)


def test_comparison_that_counts_padding_is_refused() -> None:
    def careless(student: Outputs, teacher: Outputs, mask: torch.Tensor | None) -> torch.Tensor:
        return squared(student[0], teacher[0])

    name = "encoder.layer.1"
    objective = Matching(Frozen(Encoder()), [Term("careless", [name], [name], careless)])
    with pytest.raises(UsageError, match="careless: the loss looks at padding"):
        objective.check(Encoder(), whole(sentences()))


def test_columns_of_padding_are_dropped_before_both_nets() -> None:
    data = sentences()
    batch = trimmed(whole(data))
    assert batch.inputs[0].shape == batch.inputs[1].shape == (12, 5)
    student, teacher = Encoder().train(), Encoder(seed=1)
    terms = relation_terms(encoder_of(student), encoder_of(teacher), "qk vv", heads=2, layer=None, weight=1.0)
    objective = Matching(Frozen(teacher), terms)
    # The student drops the sixth column itself when it trains, its teacher does not.
    assert objective(student, whole(data)).item() == pytest.approx(objective(student, batch).item(), rel=1e-6)


def test_batch_without_mask_is_left_as_it_is() -> None:
    assert trimmed(BATCH) is BATCH


def test_projection_is_trained_beside_the_student() -> None:
    student, teacher = Encoder(width=4), Encoder(width=8, seed=1)
    objective = Matching(Frozen(teacher), hidden_terms(encoder_of(student), encoder_of(teacher)), alpha=None)
    assert [name for name, _ in objective.named_parameters()] == [
        "compared.0.projection.weight",
        "compared.0.projection.bias",
    ]
    objective(student, whole(sentences())).backward()
    assert all(parameter.grad is not None for parameter in objective.parameters())
    assert not any("projection" in name for name in student.state_dict())


class Killed(Exception):
    pass


def killed(items: Iterable[int], description: str, total: int | None = None) -> Iterator[int]:
    for done, item in enumerate(items):
        if done == 7:
            raise Killed
        yield item


def test_killed_and_resumed_run_equals_uninterrupted(tmp_path: Path) -> None:
    hyper = Hyperparameters(epochs=4, batch_size=4, lr=0.01, seed=3)
    data, teacher = sentences(), Encoder(layers=4, width=8, seed=1)

    def run(folder: str, **more: object) -> tuple[nn.Module, Matching]:
        student = Encoder(width=4)
        own, other = encoder_of(student), encoder_of(teacher)
        terms = hidden_terms(own, other) + relation_terms(own, other, "qq kk vv", heads=4, layer=None, weight=None)
        torch.manual_seed(9)
        nn.init.normal_(terms[0].projection.weight)  # type: ignore[union-attr,arg-type]
        objective = Matching(Frozen(teacher), terms, alpha=0.5, temperature=2.0)
        fit(student, data, objective, hyper, folder=tmp_path / folder, identity="a", **more)  # type: ignore[arg-type]
        return student, objective

    whole_run = run("whole")
    with pytest.raises(Killed):
        run("killed", track=killed)
    resumed = run("killed")
    for one, other in zip(whole_run, resumed, strict=True):
        for (name, x), y in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
            assert torch.equal(x, y), name
    assert torch.equal(logits(whole_run[0], data.names, data.inputs), logits(resumed[0], data.names, data.inputs))
