"""A network taught by itself: by a copy of its own youth, or by its answers an epoch ago."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from deploycompress.errors import UsageError
from deploycompress.training.batches import Batch
from deploycompress.training.loop import fit
from deploycompress.training.losses import cross_entropy, hinton
from deploycompress.training.objective import LabelsOnly, Objective
from deploycompress.training.regimes.previous import Previous
from deploycompress.training.regimes.tail import Tail
from tests.training.test_loop import HYPER, Killed, assert_same_weights, killed_after, network, spirals

X, Y = spirals(8).inputs[0], spirals(8).labels
BATCH = Batch((), (X,), Y, torch.arange(8))


def tail(module: nn.Module) -> Objective:
    return Tail(module, rho=0.5, temperature=2.0, alpha=0.6)


def previous(module: nn.Module) -> Objective:
    return Previous(100, 2, HYPER.epochs)


@pytest.mark.parametrize("make", [tail, previous])
@pytest.mark.parametrize("batches", [7, 20])
def test_killed_and_resumed_run_equals_uninterrupted(
    tmp_path: Path, make: Callable[[nn.Module], Objective], batches: int
) -> None:
    def run(folder: str, **more: object) -> tuple[nn.Module, Objective]:
        module = network()
        objective = make(module)
        fit(module, spirals(), objective, HYPER, folder=tmp_path / folder, identity="a", **more)  # type: ignore[arg-type]
        return module, objective

    whole, remembered = run("whole")
    with pytest.raises(Killed):
        run("killed", track=killed_after(batches))
    resumed, again = run("killed")
    assert_same_weights(whole, resumed)
    assert_same_weights(remembered, again)
    plain = network()
    fit(plain, spirals(), LabelsOnly(), HYPER, folder=tmp_path / "plain", identity="a")
    assert not torch.equal(next(plain.parameters()), next(whole.parameters()))  # the teacher had a say


def test_tail_is_plain_training_until_it_begins_and_hinton_under_the_copy_after() -> None:
    model = network().eval()
    objective = Tail(model, rho=0.25, temperature=2.0, alpha=0.6).train()
    for update in range(6):
        objective.before_update(model, update, 8)
        assert torch.equal(objective(model, BATCH), cross_entropy(model(X), Y))
    objective.before_update(model, 6, 8)
    copy = model(X).detach()
    with torch.no_grad():
        next(model.parameters()).add_(0.3)
    objective.before_update(model, 7, 8)
    expected = hinton(model(X), copy, Y, temperature=2.0, alpha=0.6)
    assert torch.equal(objective(model, BATCH), expected)


def test_previous_answers_weigh_what_the_paper_says() -> None:
    model = network().eval()
    objective = Previous(8, 2, epochs=4, alpha=0.8).train()
    for update in range(2):  # the first epoch has nobody to listen to
        objective.before_update(model, update, 8)
        assert objective(model, BATCH).item() == pytest.approx(cross_entropy(model(X), Y).item(), rel=1e-6)
    before = model(X).detach().softmax(-1)
    with torch.no_grad():
        next(model.parameters()).add_(0.3)
    objective.before_update(model, 2, 8)
    weight = 0.8 * 2 / 4  # epoch 2 of 4
    targets = (1 - weight) * nn.functional.one_hot(Y, 2) + weight * before
    expected = -(targets * model(X).log_softmax(-1)).sum(-1).mean()
    assert objective(model, BATCH).item() == pytest.approx(expected.item(), rel=1e-6)
    objective.before_update(model, 3, 8)
    assert objective(model, BATCH).item() == pytest.approx(expected.item(), rel=1e-6)  # within the epoch all the same


def test_sample_that_was_left_out_of_an_epoch_keeps_its_label() -> None:
    model = network().eval()
    objective = Previous(8, 2, epochs=2, alpha=1.0).train()
    some = Batch((), (X[:4],), Y[:4], torch.arange(4))
    objective.before_update(model, 0, 2)
    objective(model, some)
    objective.before_update(model, 1, 2)
    rest = Batch((), (X[4:],), Y[4:], torch.arange(4, 8))
    assert objective(model, rest).item() == pytest.approx(cross_entropy(model(X[4:]), Y[4:]).item(), rel=1e-6)


def test_other_number_of_classes_is_refused() -> None:
    with pytest.raises(UsageError, match="set up for 3 classes and one label a sample"):
        Previous(8, 3, epochs=2)(network(), BATCH)
