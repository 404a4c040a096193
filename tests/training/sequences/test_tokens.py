"""The loss counts the answer and its end, never the prompt or the padding."""

from __future__ import annotations

import pytest
import torch

from deploycompress.errors import DataRejectedError
from deploycompress.training.losses import IGNORED, cross_entropy
from deploycompress.training.sequences.tokens import samples

END = 0
PAIRS = [("ab", "cde"), ("a", "b")]


def encode(text: str) -> list[int]:
    return [ord(letter) - 96 for letter in text]


def test_every_position_is_labelled_with_the_next_token_of_the_answer() -> None:
    data = samples(PAIRS, encode, end=END, longest=10)
    ids, mask = data.inputs
    assert ids.tolist() == [[1, 2, 3, 4, 5], [1, 2, END, END, END]]
    assert mask.tolist() == [[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]]
    assert data.labels.tolist() == [[IGNORED, 3, 4, 5, END], [2, END, IGNORED, IGNORED, IGNORED]]
    assert data.names == ("input_ids", "attention_mask")


def test_loss_is_the_negative_log_probability_of_the_answers() -> None:
    data = samples(PAIRS, encode, end=END, longest=10)
    logits = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    p = logits.log_softmax(-1)
    answer = [p[0, 1, 3], p[0, 2, 4], p[0, 3, 5], p[0, 4, END], p[1, 0, 2], p[1, 1, END]]
    expected = -torch.stack(answer).mean().item()
    assert cross_entropy(logits, data.labels).item() == pytest.approx(expected, rel=1e-5)


def test_samples_that_are_too_long_are_left_out_whole() -> None:
    assert len(samples(PAIRS, encode, end=END, longest=5)) == 1
    with pytest.raises(DataRejectedError, match="no sample fits into 2 tokens"):
        samples(PAIRS, encode, end=END, longest=2)


def test_answer_without_a_prompt_begins_at_its_second_token() -> None:
    data = samples([("", "abc")], encode, end=END, longest=10)
    assert data.labels.tolist() == [[2, 3, END]]
