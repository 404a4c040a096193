"""Labels where there are some, the teacher where there are none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from deploycompress.training.batches import few
from deploycompress.training.frozen import Frozen
from deploycompress.training.loop import fit
from deploycompress.training.losses import cross_entropy, soft_targets
from deploycompress.training.regimes.semi_supervised import SemiSupervised
from tests.training.test_loop import HYPER, Killed, assert_same_weights, killed_after, network, spirals

DATA, POOL = spirals(16), spirals(64, seed=5)
BATCH = few(DATA, 16)


def objective(**more: object) -> SemiSupervised:
    return SemiSupervised(Frozen(network(3)), POOL, **more)  # type: ignore[arg-type]


def test_weight_rises_over_the_ramp_and_stays() -> None:
    made, seen = objective(ramp=0.5), []
    for update in range(8):
        made.before_update(network(), update, 8)
        seen.append(made.weight)
    assert seen == [0.0, 0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0]


def test_without_weight_only_the_labels_count() -> None:
    made, model = objective(), network().eval()
    made.before_update(model, 0, 8)
    assert torch.equal(made(model, BATCH), cross_entropy(model(DATA.inputs[0]), DATA.labels))


def test_soft_targets_are_the_teachers() -> None:
    made, model = objective(temperature=3.0), network().eval()
    drawn = few(POOL, 64)
    student, teacher = model(POOL.inputs[0]), network(3).eval()(POOL.inputs[0])
    assert torch.equal(made.unlabelled(student, drawn), soft_targets(student, teacher, 3.0))


def test_pseudo_labels_below_the_threshold_count_as_zero() -> None:
    model, drawn = network().eval(), few(POOL, 64)
    student, teacher = model(POOL.inputs[0]).double(), network(3).eval()(POOL.inputs[0]).double()
    confidence, classes = teacher.softmax(-1).max(-1)
    threshold = confidence.median().item()
    each = nn.functional.cross_entropy(student, classes, reduction="none")
    expected = each[confidence >= threshold].sum() / 64
    made = objective(targets="hard", threshold=threshold - 1e-6)
    assert made.unlabelled(student.float(), drawn).item() == pytest.approx(expected.item(), rel=1e-5)
    assert objective(targets="hard", threshold=1.0).unlabelled(student.float(), drawn).item() == 0


def test_labels_of_the_pool_are_not_looked_at(tmp_path: Path) -> None:
    results = []
    for name, labels in (("a", POOL.labels), ("b", torch.full_like(POOL.labels, -7))):
        pool = type(POOL)(POOL.names, POOL.inputs, labels, "")
        module = network()
        made = SemiSupervised(Frozen(network(3)), pool)
        fit(module, DATA, made, HYPER, folder=tmp_path / name, identity="a")
        results.append(module)
    assert_same_weights(*results)


def test_killed_and_resumed_run_draws_the_same_samples(tmp_path: Path) -> None:
    def run(folder: str, **more: object) -> nn.Module:
        module = network()
        fit(module, DATA, objective(), HYPER, folder=tmp_path / folder, identity="a", **more)  # type: ignore[arg-type]
        return module

    whole = run("whole")
    with pytest.raises(Killed):
        run("killed", track=killed_after(2))
    assert_same_weights(whole, run("killed"))
