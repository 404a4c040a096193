"""Replaced words: the nearest neighbours against brute force, how many are replaced, and by what."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deploycompress.training.distillation.augmentation import augmented, neighbours

TABLE = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
REPLACEABLE = torch.arange(40) >= 5
IDS = torch.randint(40, (200, 9), generator=torch.Generator().manual_seed(1))


def copies(count: int = 3, seed: int = 0, probability: float = 0.4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    near = neighbours(TABLE, REPLACEABLE, 4)
    return augmented(IDS, near, REPLACEABLE, copies=count, generator=generator, probability=probability)


def test_neighbours_are_the_most_similar_replaceable_tokens() -> None:
    table = TABLE.double().numpy()
    unit = table / np.linalg.norm(table, axis=1, keepdims=True)
    for token, found in enumerate(neighbours(TABLE, REPLACEABLE, 4).tolist()):
        others = [other for other in range(5, 40) if other != token]
        assert found == sorted(others, key=lambda other: -unit[token] @ unit[other])[:4]


def test_special_tokens_and_pieces_stay() -> None:
    repeated = IDS.repeat(3, 1)
    assert torch.equal(copies()[repeated < 5], repeated[repeated < 5])


def test_replacements_are_neighbours_of_the_word_they_replace() -> None:
    near, repeated, changed = neighbours(TABLE, REPLACEABLE, 4), IDS.repeat(3, 1), copies()
    moved = changed != repeated
    assert (near[repeated[moved]] == changed[moved][:, None]).any(1).all()


def test_words_are_replaced_with_the_probability() -> None:
    repeated = IDS.repeat(3, 1)
    words = repeated >= 5
    share = (copies() != repeated)[words].float().mean().item()
    assert share == pytest.approx(0.4, abs=4 * (0.24 / int(words.sum())) ** 0.5)  # four standard errors


def test_draws_are_those_of_the_generator() -> None:
    assert torch.equal(copies(seed=1), copies(seed=1))
    assert not torch.equal(copies(seed=1), copies(seed=2))


def test_probability_zero_repeats_the_rows() -> None:
    assert torch.equal(copies(2, probability=0.0), torch.cat([IDS, IDS]))
