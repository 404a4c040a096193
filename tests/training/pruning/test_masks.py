"""Scores and masks: exact counts, LAMP by its definition, schedules, targets, sensitivity."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import nn

from deploycompress.errors import UnknownNameError, UsageError
from deploycompress.training.pruning import masks, scores, sensitivity
from deploycompress.training.pruning.schedule import sparsity_at
from deploycompress.training.pruning.targets import prunable

WEIGHTS = arrays(np.float32, (4, 6), elements=st.floats(-4, 4, width=32))


@given(weight=WEIGHTS)
def test_lamp_follows_its_definition_and_its_best_score_is_one(weight: np.ndarray) -> None:
    got = scores.lamp(torch.from_numpy(weight)).numpy()
    w = weight.astype(np.float64)
    for score, value in zip(got.ravel(), w.ravel(), strict=True):
        # Weights of one size come in some order: the score lies between counting all of them and only itself.
        above, same = (w[np.abs(w) > abs(value)] ** 2).sum(), (np.abs(w) == abs(value)).sum()
        if value == 0:
            assert score == 0
        else:
            assert (
                value**2 / (above + same * value**2) * (1 - 1e-9) <= score <= value**2 / (above + value**2) * (1 + 1e-9)
            )
    if w.any():
        assert got.max() == 1.0


@given(weight=WEIGHTS, sparsity=st.floats(0, 0.99))
def test_density_is_exact_in_every_layer(weight: np.ndarray, sparsity: float) -> None:
    found = {"a": torch.from_numpy(weight).abs(), "b": torch.rand(7, 3)}
    for name, mask in masks.uniform(found, sparsity).items():
        size = found[name].numel()
        assert int(mask.sum()) == max(1, round((1 - sparsity) * size))
        kept, gone = found[name][mask], found[name][~mask]
        assert not gone.numel() or kept.min() >= gone.max()


@given(weight=WEIGHTS, sparsity=st.floats(0, 0.9))
def test_global_masks_sum_to_the_budget_and_empty_no_layer(weight: np.ndarray, sparsity: float) -> None:
    found = {"tiny": torch.from_numpy(weight).abs() * 1e-6, "large": 1 + torch.rand(10, 5)}
    chosen = masks.global_(found, sparsity)
    total = sum(score.numel() for score in found.values())
    assert sum(int(mask.sum()) for mask in chosen.values()) == round((1 - sparsity) * total)
    assert all(mask.any() for mask in chosen.values())
    if sparsity > 0.4:  # the large ones are wanted first
        assert int(chosen["tiny"].sum()) == 1
    assert masks.sparsity_of(chosen) == pytest.approx(1 - round((1 - sparsity) * total) / total)


def test_more_sparsity_than_layers_can_bear_is_refused() -> None:
    with pytest.raises(UsageError, match=r"a sparsity of 0.95 leaves 1 weights to 2 layers; prune less"):
        masks.global_({"a": torch.rand(10), "b": torch.rand(10)}, 0.95)


def test_schedule_starts_at_zero_falls_off_cubically_and_ends_early() -> None:
    at = [sparsity_at(update, 100, final=0.9, begin=0.1, end=0.5) for update in (0, 9, 10, 30, 50, 99)]
    assert at == pytest.approx([0.0, 0.0, 0.0, 0.9 * (1 - 0.5**3), 0.9, 0.9])
    assert sparsity_at(0, 100, final=0.9, end=0.0) == 0.9


def test_biases_norms_embeddings_and_edges_are_not_pruned() -> None:
    model = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 8), nn.Linear(8, 2))
    assert list(prunable(model)) == ["3"]
    assert list(prunable(model, edges=True)) == ["1", "3", "4"]
    assert list(prunable(model, edges=True, exclude=("4",))) == ["1", "3"]
    with pytest.raises(UnknownNameError, match="unknown layer '9'"):
        prunable(model, exclude=("9",))
    with pytest.raises(UsageError, match="there is no layer to prune; edges: true"):
        prunable(nn.Sequential(nn.Linear(2, 2)))


def test_shared_weight_is_pruned_once() -> None:
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    assert list(prunable(nn.Sequential(first, second), edges=True)) == ["0"]


def test_scan_prunes_one_layer_at_a_time_and_leaves_the_model_as_it_was() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 4, bias=False), nn.Linear(4, 5, bias=False))
    before = [parameter.clone() for parameter in model.parameters()]

    def ones(net: nn.Module) -> float:
        return sum(float((p != 0).sum()) for p in net.parameters())

    drops = sensitivity.scan(model, prunable(model, edges=True), ones, (0.5, 0.9))
    assert drops == {"0": {0.5: 10.0, 0.9: 18.0}, "1": {0.5: 10.0, 0.9: 18.0}}
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))


def test_shares_follow_the_tolerance_and_reach_the_goal() -> None:
    drops = {"robust": {0.1: 0.0, 0.5: 0.0, 0.9: 0.1}, "tender": {0.1: 0.0, 0.5: 2.0, 0.9: 9.0}}
    sizes = {"robust": 100, "tender": 300}
    found = sensitivity.shares(drops, sizes, 0.3, tolerance=0.5)
    assert found["robust"] == pytest.approx(9 * found["tender"])
    assert sum(found[name] * sizes[name] for name in sizes) / 400 == pytest.approx(0.3)
    with pytest.raises(UsageError, match=r"leaves room for a sparsity of 0.247, not 0.3; allow a larger tolerance"):
        sensitivity.shares({**drops, "tender": {0.1: 1.0}}, sizes, 0.3, tolerance=0.5)
