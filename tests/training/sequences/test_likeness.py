"""ROUGE-L against brute force; prompts that are alike are kept once."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploycompress.training.sequences.likeness import closest, distinct, rouge_l

WORDS = st.lists(st.sampled_from("abc"), min_size=1, max_size=6)


def longest_common(a: list[str], b: list[str]) -> int:
    """Of all subsequences of `a`, the longest that is one of `b`."""
    for size in range(len(a), 0, -1):
        for chosen in combinations(a, size):
            rest = iter(b)
            if all(word in rest for word in chosen):
                return size
    return 0


@settings(max_examples=60)
@given(a=WORDS, b=WORDS)
def test_matches_brute_force(a: list[str], b: list[str]) -> None:
    common = longest_common(a, b)
    expected = 2 * common / (len(a) + len(b))
    assert rouge_l(" ".join(a), " ".join(b)) == pytest.approx(expected, abs=1e-12)


def test_equal_texts_are_one_and_empty_ones_zero() -> None:
    assert rouge_l("Sort these", "sort THESE") == 1.0
    assert rouge_l("", "sort") == rouge_l("sort", "") == 0.0


def test_prompts_alike_are_kept_once_in_order() -> None:
    prompts = ["sort the five digits", "name a city in France", "sort the five Digits now", "name a city in France"]
    assert distinct(prompts) == prompts[:2]
    assert distinct(prompts, below=1.0) == prompts[:3]


def test_candidate_nearest_to_the_reference_is_taken() -> None:
    assert closest(["a dog ran", "the cat sat there", "the cat"], "the cat sat down there") == "the cat sat there"
