"""Faults of distillation listings that circulate, each kept out by a test; code in our own pages must parse."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from deploycompress.errors import UsageError
from deploycompress.training.batches import Batch, few
from deploycompress.training.evaluate import evaluate
from deploycompress.training.frozen import Frozen
from deploycompress.training.loop import fit
from deploycompress.training.losses import checks, soft_targets
from deploycompress.training.losses.checks import check_soft_loss
from deploycompress.training.objective import LabelsOnly
from deploycompress.training.offline import Offline
from tests.training.test_loop import HYPER, network, spirals

ROOT = Path(__file__).parents[2]
GENERATOR = torch.Generator().manual_seed(0)
STUDENT, TEACHER = torch.randn(6, 10, generator=GENERATOR), torch.randn(6, 10, generator=GENERATOR)


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda path: path.stem)
def test_python_in_our_pages_parses(page: Path) -> None:
    for listing in re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        ast.parse(listing)


def test_network_trains_in_training_mode_and_is_judged_in_eval_mode(tmp_path: Path) -> None:
    modes: list[bool] = []

    class Watched(nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            modes.append(self.training)
            return super().forward(x)

    module = Watched(network()).eval()
    hyper = HYPER.model_copy(update={"epochs": 2})
    fit(module, spirals(), LabelsOnly(), hyper, folder=tmp_path, identity="a", evaluation=spirals(20, 1))
    epoch = [True] * 7 + [False] * 2
    assert modes == epoch * 2
    assert not module.training
    module.train()
    evaluate(module, spirals(20, 1), 16)
    assert module.training


@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0])
def test_loss_is_a_mean_over_samples_and_scaled_by_the_squared_temperature(temperature: float) -> None:
    circulating = nn.KLDivLoss(reduction="none")(
        (STUDENT / temperature).log_softmax(-1), (TEACHER / temperature).softmax(-1)
    ).mean()  # what reduction "mean" divides by: samples times classes
    ours = soft_targets(STUDENT, TEACHER, temperature)
    assert ours.item() == pytest.approx(10 * temperature**2 * circulating.item(), rel=1e-5)


def test_labels_have_a_say_in_offline_distillation() -> None:
    data = spirals(8)
    one, other = few(data, 8), Batch((), data.inputs, 1 - data.labels, torch.arange(8))
    objective, student = Offline(Frozen(network(1)), temperature=4.0, alpha=0.9), network().eval()
    assert objective(student, one).item() != objective(student, other).item()
    alone = Offline(Frozen(network(1)), temperature=4.0, alpha=1.0)
    assert alone(student, one).item() == alone(student, other).item()


def test_student_is_the_first_argument_and_the_teacher_the_reference() -> None:
    forward = (TEACHER.softmax(-1) * (TEACHER.log_softmax(-1) - STUDENT.log_softmax(-1))).sum(-1).mean()
    assert soft_targets(STUDENT, TEACHER, 1.0).item() == pytest.approx(forward.item(), rel=1e-5)
    assert soft_targets(STUDENT, TEACHER, 1.0).item() != pytest.approx(soft_targets(TEACHER, STUDENT, 1.0).item())


def mean_over_classes(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    return soft_targets(student, teacher, temperature) / student.shape[-1]


def without_squared_temperature(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    return soft_targets(student, teacher, temperature) / temperature**2


def probabilities_for_logs(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    p, q = (student / temperature).softmax(-1), (teacher / temperature).softmax(-1)
    return temperature**2 * nn.functional.kl_div(p, q, reduction="batchmean")


def the_other_direction(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    p, q = (student / temperature).log_softmax(-1), (teacher.detach() / temperature).log_softmax(-1)
    return temperature**2 * (p.exp() * (p - q)).sum(-1).mean()


@pytest.mark.parametrize(
    "fault",
    [mean_over_classes, without_squared_temperature, probabilities_for_logs, the_other_direction],
)
def test_self_test_before_training_finds_it(fault: object, monkeypatch: pytest.MonkeyPatch) -> None:
    check_soft_loss(TEACHER, 4.0)
    monkeypatch.setattr(checks, "soft_targets", fault)
    with pytest.raises(UsageError, match="the soft loss is not as defined"):
        check_soft_loss(TEACHER, 4.0)


def test_teacher_with_infinite_logits_is_refused_before_training() -> None:
    with pytest.raises(UsageError, match="the teacher's logits are not finite"):
        check_soft_loss(torch.tensor([[1.0, float("inf")]]), 4.0)
