"""One student of two tasks: plain training, two teachers, and the way from one to the other."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from deploycompress.errors import UsageError
from deploycompress.training.arrays import Arrays
from deploycompress.training.batches import Batch
from deploycompress.training.frozen import Frozen
from deploycompress.training.loop import fit
from deploycompress.training.losses import IGNORED, cross_entropy, soft_targets
from deploycompress.training.regimes.multitask import MultiTask, mixed
from tests.training.test_loop import HYPER, spirals

DATA = spirals(40)
X = DATA.inputs[0]
LABELS = torch.stack([DATA.labels, (X.sum(1) > 0).long() + (X[:, 0] > 0).long()], dim=1)
BATCH = Batch((), (X,), LABELS, torch.arange(40))


class TwoHeads(nn.Module):
    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.trunk, self.first, self.second = nn.Linear(2, 16), nn.Linear(16, 2), nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = self.trunk(x).tanh()
        return self.first(hidden), self.second(hidden)


def teachers() -> list[Frozen]:
    torch.manual_seed(9)
    return [Frozen(nn.Linear(2, 2)), Frozen(nn.Linear(2, 3))]


def plain(model: nn.Module) -> float:
    return sum(cross_entropy(output, LABELS[:, task]).item() for task, output in enumerate(model(X)))


def test_share_of_one_is_plain_multi_task_training() -> None:
    model = TwoHeads()
    for objective in (MultiTask(teachers(), anneal=False, share=1.0), MultiTask([])):
        assert objective(model, BATCH).item() == pytest.approx(plain(model), rel=1e-5)


def test_annealing_goes_from_the_teachers_to_the_labels() -> None:
    model, told = TwoHeads(), teachers()
    objective = MultiTask(told)
    objective.before_update(model, 0, 11)
    start = sum(
        (teacher(X).softmax(-1) * (teacher(X).log_softmax(-1) - output.log_softmax(-1))).sum(-1).mean().item()
        for teacher, output in zip(told, model(X), strict=True)
    )
    assert objective(model, BATCH).item() == pytest.approx(start, rel=1e-5)
    objective.before_update(model, 5, 11)
    assert objective(model, BATCH).item() == pytest.approx((start + plain(model)) / 2, rel=1e-5)
    objective.before_update(model, 10, 11)
    assert objective(model, BATCH).item() == pytest.approx(plain(model), rel=1e-5)


def test_gradient_is_that_of_mixed_targets() -> None:
    """BAM's own form: CE against lambda y + (1 - lambda) p_teacher."""
    model, twin, told = TwoHeads(), TwoHeads(), teachers()
    MultiTask(told, anneal=False, share=0.3)(model, BATCH).backward()
    mixed_targets = [
        0.3 * nn.functional.one_hot(LABELS[:, task], classes) + 0.7 * told[task](X).softmax(-1)
        for task, classes in enumerate((2, 3))
    ]
    losses = [-(q * z.log_softmax(-1)).sum(-1).mean() for q, z in zip(mixed_targets, twin(X), strict=True)]
    torch.stack(losses).sum().backward()
    for mine, expected in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, expected.grad, rtol=1e-4, atol=1e-6)  # float32, sums in another order


def test_temperature_softens_both_sides() -> None:
    model, told = TwoHeads(), teachers()
    expected = sum(soft_targets(z, t(X), 4.0).item() for z, t in zip(model(X), told, strict=True))
    made = MultiTask(told, anneal=False, share=0.0, temperature=4.0)
    assert made(model, BATCH).item() == pytest.approx(expected, rel=1e-5)


def test_sample_without_a_label_does_not_count_in_that_task() -> None:
    model, labels = TwoHeads(), LABELS.clone()
    labels[10:, 1] = IGNORED
    expected = cross_entropy(model(X)[0], labels[:, 0]) + cross_entropy(model(X)[1][:10], labels[:10, 1])
    objective = MultiTask(teachers(), anneal=False, share=1.0)
    assert objective(model, Batch((), (X,), labels, BATCH.rows)).item() == pytest.approx(expected.item(), rel=1e-5)


def test_it_goes_through_the_loop(tmp_path: Path) -> None:
    model = TwoHeads()
    before = plain(model)
    fit(model, Arrays((), (X,), LABELS, ""), MultiTask([]), HYPER, folder=tmp_path, identity="a")
    assert plain(model) < before


def test_other_number_of_tasks_is_refused() -> None:
    with pytest.raises(UsageError, match="3 teachers for a network of 2 tasks"):
        MultiTask([*teachers(), Frozen(nn.Linear(2, 2))])(TwoHeads(), BATCH)
    with pytest.raises(UsageError, match=r"labels are \(40,\) for a network of 2 tasks"):
        MultiTask([])(TwoHeads(), Batch((), (X,), DATA.labels, BATCH.rows))
    with pytest.raises(UsageError, match="Linear returns a Tensor; return a tuple of logits"):
        MultiTask([])(nn.Linear(2, 2), BATCH)


def test_mixture_draws_tasks_by_the_power_of_their_size() -> None:
    large, small = spirals(1600), spirals(100, seed=2)
    drawn = mixed([large, small], 20_000, torch.Generator().manual_seed(0))
    is_small = drawn.labels[:, 0] == IGNORED
    expected = 100**0.75 / (100**0.75 + 1600**0.75)  # 1 / 9
    # Standard deviation of the share of 20,000 draws: sqrt(p (1 - p) / n) = 0.0022; five of them.
    assert is_small.double().mean().item() == pytest.approx(expected, abs=0.011)
    assert torch.equal(drawn.labels[:, 1] != IGNORED, is_small)
    sources = {tuple(x): int(y) for x, y in zip(small.inputs[0].tolist(), small.labels, strict=True)}
    for x, y in zip(drawn.inputs[0][is_small].tolist(), drawn.labels[is_small, 1].tolist(), strict=True):
        assert sources[tuple(x)] == y
