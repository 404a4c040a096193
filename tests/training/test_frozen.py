"""A frozen teacher answers always the same, learns nothing, and is seen by no optimizer and no snapshot."""

from __future__ import annotations

import torch
from torch import nn

from deploycompress.training.frozen import Earlier, Frozen
from tests.training.test_loop import assert_same_weights, network

X = torch.rand(8, 2, generator=torch.Generator().manual_seed(0))


class Holder(nn.Module):
    def __init__(self, teacher: nn.Module) -> None:
        super().__init__()
        self.teacher, self.own = teacher, nn.Linear(2, 2)


def test_training_mode_does_not_reach_the_teacher() -> None:
    teacher = network()
    holder = Holder(Frozen(teacher)).train()
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    first, second = holder.teacher(X), holder.teacher(X)
    assert torch.equal(first, second)  # no dropout
    for name, tensor in teacher.state_dict().items():
        assert torch.equal(tensor, before[name]), name  # BatchNorm statistics drift in training mode
    assert not teacher.training


def test_no_gradient_flows_and_no_parameter_shows() -> None:
    holder = Holder(Frozen(network()))
    assert not holder.teacher(X.clone().requires_grad_()).requires_grad
    assert {name for name, _ in holder.named_parameters()} == {"own.weight", "own.bias"}
    assert set(holder.state_dict()) == {"own.weight", "own.bias"}
    holder.load_state_dict(holder.state_dict())


def test_teacher_follows_to_another_device_and_type() -> None:
    teacher = network()
    Holder(Frozen(teacher)).to(torch.float64)
    assert next(teacher.parameters()).dtype == torch.float64


def test_earlier_copy_is_in_the_state_and_does_not_move_with_the_network() -> None:
    model = network()
    holder = Holder(Earlier(model)).train()
    with torch.no_grad():
        next(model.parameters()).add_(1.0)
    assert_same_weights(holder.teacher.module, network())  # type: ignore[arg-type]
    assert not holder.teacher(X).requires_grad
    assert torch.equal(holder.teacher(X), network().eval()(X))
    holder.teacher.remember(model)  # type: ignore[operator]
    assert_same_weights(holder.teacher.module, model)  # type: ignore[arg-type]
    assert "teacher.module.0.weight" in holder.state_dict()
