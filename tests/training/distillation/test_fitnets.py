"""FitNets: the regressor fits the hint, what lies above stays, and the gate closes on a bad hint."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from deploycompress.errors import UnknownNameError, UsageError
from deploycompress.records.recipe import Hyperparameters
from deploycompress.training.distillation.fitnets import Annealed, FitNets, Hints, regressor
from deploycompress.training.frozen import Frozen
from deploycompress.training.loop import fit
from deploycompress.training.losses.hidden import unexplained
from tests.training.distillation.nets import Encoder, convolutional, images, sentences, whole

BATCH = whole(images())


def fitnets(student: nn.Module, teacher: Frozen, *, limit: float, guided: str = "3") -> FitNets:
    hints = Hints(teacher, "3", guided, student, BATCH)
    return FitNets(hints, Annealed(teacher, temperature=2.0, alpha=0.8, last=0.5), share=0.5, limit=limit)


def test_untrained_regressor_is_nearly_the_constant_guess() -> None:
    hints = Hints(Frozen(convolutional(6, seed=1)), "3", "3", convolutional(3), BATCH)
    # 27 products of weights below 0.005 with features of about 0.3 move a hint of like size by some hundredths.
    assert hints(convolutional(3), BATCH).item() == pytest.approx(1, abs=0.1)
    assert hints.figures()["hint_unexplained"] == pytest.approx(1, abs=0.1)


def test_hint_loss_is_the_unexplained_variance_over_channels() -> None:
    teacher, student = convolutional(6, seed=1), convolutional(3)
    hints = Hints(Frozen(teacher), "3", "3", student, BATCH)
    answered, told = hints.regressor(student[:4](BATCH.inputs[0])), teacher[:4](BATCH.inputs[0])
    mean = told.mean((0, 2, 3), keepdim=True)
    expected = ((answered - told) ** 2).sum() / ((told - mean) ** 2).sum()
    torch.testing.assert_close(hints(student, BATCH), expected)


def test_regressor_has_the_non_linearity_of_the_hint() -> None:
    features = torch.randn(2, 3, 4, 4)
    assert isinstance(regressor(features, features.relu()), nn.Sequential)
    assert isinstance(regressor(features, features), nn.Conv2d)
    assert isinstance(regressor(features[:, :, 0, 0], features[:, :, 0, 0]), nn.Linear)


def test_padding_does_not_count_in_hints_on_tokens() -> None:
    student, teacher, data = Encoder(width=4), Encoder(seed=1), whole(sentences())
    name = "encoder.layer.1"
    hints = Hints(Frozen(teacher), name, name, student, data)
    mask = data.inputs[1][:, :5]
    states = [net.encoder["layer"] for net in (student, teacher)]
    assert all(len(stack) == 2 for stack in states)
    found = []
    for net in (student, teacher):
        x = net.embeddings(data.inputs[0][:, :5])
        for layer in net.encoder["layer"]:
            (x,) = layer(x, mask)
        found.append(x)
    torch.testing.assert_close(hints(student, data), unexplained(hints.regressor(found[0]), found[1], mask))


def test_hints_move_the_guided_half_alone_then_everything_moves(tmp_path: Path) -> None:
    student, teacher = convolutional(3), Frozen(convolutional(6, seed=1))
    start = {name: parameter.clone() for name, parameter in student.named_parameters()}
    objective = fitnets(student, teacher, limit=0.99, guided="1")
    hyper = Hyperparameters(epochs=20, batch_size=6, lr=0.01, schedule="constant")
    fit(student, images(), objective.objectives[0], hyper, folder=tmp_path / "1", identity="a")  # type: ignore[arg-type]
    still = [name for name, parameter in student.named_parameters() if torch.equal(parameter, start[name])]
    assert still == ["2.weight", "2.bias", "5.weight", "5.bias"]
    fit(student, images(), objective, hyper, folder=tmp_path / "2", identity="a")
    assert all(not torch.equal(parameter, start[name]) for name, parameter in student.named_parameters())


def test_hint_that_is_not_fitted_ends_the_run(tmp_path: Path) -> None:
    student, teacher = convolutional(3), Frozen(convolutional(6, seed=1))
    hyper = Hyperparameters(epochs=2, batch_size=6, lr=1e-6)
    with pytest.raises(
        UsageError, match=r"3: the hints leave \d\.\d\d of the variance of 3 unexplained, more than 0\.1"
    ):
        fit(student, images(), fitnets(student, teacher, limit=0.1), hyper, folder=tmp_path, identity="a")


def test_share_of_the_teacher_falls_linearly() -> None:
    objective = Annealed(Frozen(convolutional()), temperature=2.0, alpha=0.8, last=0.5)
    shares = []
    for update in range(4):
        objective.before_update(convolutional(), update, 4)
        shares.append(objective.alpha)
    assert shares == pytest.approx([0.8, 0.7, 0.6, 0.5])


def test_unknown_layer_is_named() -> None:
    with pytest.raises(UnknownNameError, match="unknown submodule '33'"):
        Hints(Frozen(convolutional()), "3", "33", convolutional(), BATCH)


def test_feature_maps_and_vectors_do_not_go_together() -> None:
    with pytest.raises(UsageError, match=r"puts out \(12, 4, 4, 4\), the hint is \(12, 3\); name layers of the same"):
        Hints(Frozen(convolutional()), "5", "3", convolutional(), BATCH)
