"""GAN-style distillation and the attack: who moves whom, how far an input may go, and that attacks hurt."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from deploycompress.errors import UsageError
from deploycompress.training.batches import Batch
from deploycompress.training.distillation.attack import Attack, attacked, robust_accuracy
from deploycompress.training.distillation.gan import Gan
from deploycompress.training.distillation.robust import Adversarial, Robust
from deploycompress.training.frozen import Frozen
from deploycompress.training.losses import soft_targets
from deploycompress.training.losses.adversarial import discriminating
from tests.training.distillation.nets import convolutional, images, whole

BATCH = whole(images())
ATTACK = Attack(epsilon=0.1, step=0.03, steps=5)


def gradients(objective: nn.Module, student: nn.Module) -> dict[str, torch.Tensor]:
    student.zero_grad()
    objective.zero_grad()
    objective(student, BATCH).backward()
    found = [*student.named_parameters(), *objective.named_parameters()]
    return {name: parameter.grad.clone() for name, parameter in found if parameter.grad is not None}


def test_discriminator_learns_from_its_own_loss_alone() -> None:
    torch.manual_seed(0)
    teacher, student = convolutional(seed=1), convolutional(seed=2)
    objective = Gan(Frozen(teacher), 3, distance=5.0, adversarial=2.0)
    found = gradients(objective, student)
    objective.zero_grad()
    answers = [net(BATCH.inputs[0]).detach() for net in (teacher, student)]
    discriminating(*(objective.discriminator(answer) for answer in answers), BATCH.labels).backward()
    for name, parameter in objective.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad)


def test_student_does_not_learn_from_the_loss_of_the_discriminator() -> None:
    torch.manual_seed(0)
    teacher, student = Frozen(convolutional(seed=1)), convolutional(seed=2)
    without = gradients(Gan(teacher, 3, distance=1.0, adversarial=0.0), student)
    # A weight that is next to nothing leaves the discriminator's own loss as it is.
    barely = gradients(Gan(teacher, 3, distance=1.0, adversarial=1e-12), student)
    torch.testing.assert_close(without["0.weight"], barely["0.weight"])
    fighting = gradients(Gan(teacher, 3, distance=1.0, adversarial=1.0), student)
    assert not torch.allclose(without["0.weight"], fighting["0.weight"])


def test_attack_stays_within_epsilon_and_the_range_of_the_inputs() -> None:
    harder = attacked(convolutional(), BATCH, ATTACK).inputs[0]
    assert (harder - BATCH.inputs[0]).abs().max() <= ATTACK.epsilon + 1e-6  # float32 of numbers up to 1
    assert harder.min() >= 0
    assert harder.max() <= 1
    assert not torch.equal(harder, BATCH.inputs[0])


def test_single_step_goes_up_the_gradient() -> None:
    model = convolutional()
    one = Attack(epsilon=0.1, step=0.03, steps=1, low=-9, high=9, random_start=False)
    inputs = BATCH.inputs[0].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(model(inputs), BATCH.labels), inputs)
    torch.testing.assert_close(attacked(model, BATCH, one).inputs[0], BATCH.inputs[0] + 0.03 * gradient.sign())


def test_attack_is_made_in_eval_mode_and_leaves_no_gradient() -> None:
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 3)).train()
    before = model[1].running_mean.clone()
    attacked(model, BATCH, ATTACK)
    assert model.training
    assert torch.equal(model[1].running_mean, before)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_attack_costs_accuracy() -> None:
    data = images(200)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(100):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(data.inputs[0]), data.labels).backward()
        optimizer.step()
    torch.manual_seed(0)
    clean = robust_accuracy(model, data, Attack(epsilon=1e-9, step=1e-9, steps=1))
    assert clean > 0.9
    # A linear net on rows whose means differ by a few hundredths: 0.1 per pixel turns most of them.
    assert robust_accuracy(model, data, ATTACK) < clean - 0.3


def test_robust_loss_holds_the_attacked_student_to_the_clean_teacher() -> None:
    teacher, student = convolutional(seed=1), convolutional(seed=2)
    torch.manual_seed(3)
    value = Robust(Frozen(teacher), ATTACK, temperature=4.0, alpha=1.0)(student, BATCH)
    torch.manual_seed(3)
    harder = attacked(student, BATCH, ATTACK)
    torch.testing.assert_close(value, soft_targets(student(harder.inputs[0]), teacher(BATCH.inputs[0]), 4.0))


def test_adversarial_training_looks_at_attacked_inputs() -> None:
    student = convolutional(seed=2)
    torch.manual_seed(3)
    value = Adversarial(ATTACK)(student, BATCH)
    assert value > nn.functional.cross_entropy(student(BATCH.inputs[0]), BATCH.labels)


@pytest.mark.parametrize("inputs", [(torch.ones(2, 3, dtype=torch.int64),), (torch.ones(2, 3), torch.ones(2, 3))])
def test_tokens_and_pairs_cannot_be_attacked(inputs: tuple[torch.Tensor, ...]) -> None:
    batch = Batch((), inputs, torch.zeros(2, dtype=torch.int64), torch.arange(2))
    with pytest.raises(UsageError, match="Sequential: only networks with one floating input can be attacked"):
        attacked(convolutional(), batch, ATTACK)
