"""Batches by length hold every row once, rows of like length together, another order every pass."""

from __future__ import annotations

import torch

from deploycompress.training.batches import Rows, loader

LENGTHS = torch.randint(1, 40, (331,), generator=torch.Generator().manual_seed(0))
ROWS = Rows((torch.arange(331), LENGTHS))


def passes(seed: int, *, grouped: bool = True, size: int = 8) -> list[tuple[torch.Tensor, ...]]:
    order = torch.Generator().manual_seed(seed)
    return list(loader(ROWS, size, order, LENGTHS if grouped else None))


def test_every_row_comes_once_in_batches_of_the_asked_size() -> None:
    batches = passes(1)
    assert sorted(torch.cat([rows for rows, _ in batches]).tolist()) == list(range(331))
    assert sorted(len(rows) for rows, _ in batches) == [3] + [8] * 41


def test_grouped_batches_hold_less_padding() -> None:
    def padded(batches: list[tuple[torch.Tensor, ...]]) -> int:
        return sum(int(lengths.max()) * len(lengths) for _, lengths in batches)

    total = int(LENGTHS.sum())
    # Lengths 1 to 39 in batches of 8: shuffled, a batch is padded to about 35, that is to 1.7 of the tokens.
    assert padded(passes(1)) < 1.1 * total
    assert padded(passes(1, grouped=False)) > 1.5 * total


def test_order_is_of_the_seed_alone_and_not_sorted() -> None:
    firsts = [[int(rows[0]) for rows, _ in passes(seed)] for seed in (1, 1, 2)]
    assert firsts[0] == firsts[1] != firsts[2]
    longest = [int(lengths.max()) for _, lengths in passes(1)]
    assert longest != sorted(longest)


def test_lone_last_row_is_left_out() -> None:
    batches = passes(1, size=11)
    assert 331 % 11 == 1
    assert {len(rows) for rows, _ in batches} == {11}
    assert len(loader(ROWS, 11, torch.Generator(), LENGTHS)) == len(batches) == 30
