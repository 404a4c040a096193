"""Constant, repeated and left-out samples are counted and named; ordinary ones pass in silence."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from deploycompress import data
from deploycompress.data.content import constant, content, duplicates, unusable
from deploycompress.data.samples import Skipped
from deploycompress.data.summary import Summary, summarize
from deploycompress.records.signature import Signature, TensorSpec
from tests.zoo import normal


def summaries(*arrays: np.ndarray) -> list[Summary]:
    return [summarize({"x": array}, None, f"s{index}") for index, array in enumerate(arrays)]


def test_ordinary_samples_pass_in_silence() -> None:
    found = summaries(*normal(32, 4))
    assert [*constant(found), *duplicates(found), *unusable((), 32)] == []


def test_all_zeros_are_a_failure() -> None:
    (symptom,) = constant(summaries(*np.zeros((5, 4), np.float32)))
    assert (symptom.severity, symptom.check) == ("failure", "constant samples")
    assert symptom.found == "5 of 5 samples are constant (every value is 0)"
    assert "a scale found on them is an invented one" in symptom.why


def test_one_constant_sample_is_named_and_a_warning() -> None:
    (symptom,) = constant(summaries(*normal(3, 4), np.full(4, 7.0)))
    assert (symptom.severity, symptom.where) == ("warning", "s3")
    assert "1 of 4 samples are constant (every value is 7)" in symptom.found


@given(st.integers(1, 40), st.integers(0, 40))
def test_copies_are_counted_exactly(different: int, copies: int) -> None:
    base = normal(different, 4)
    found = list(duplicates(summaries(*base, *(base[index % different] for index in range(copies)))))
    total = different + copies
    assert bool(found) == (copies > total / 100)
    if found:
        assert found[0].found.startswith(f"{copies} of {total} samples")
        assert found[0].found.endswith(f"{different} are different")


def test_left_out_samples_are_listed_with_their_reasons() -> None:
    (symptom,) = unusable([Skipped(f"{n}.npy", "input 'x' holds NaN") for n in range(5)], 3)
    assert symptom.found == "5 left out, 3 used"
    assert symptom.where.startswith("0.npy: input 'x' holds NaN; 1.npy")
    assert symptom.where.endswith("and 2 more")


def test_of_random_samples_that_alone_is_said() -> None:
    tokens = Signature((TensorSpec("ids", "int64", ("n", 1)),), ())  # 0 or 1: most of them repeat
    (symptom,) = content(data.open("random:9", tokens))
    assert symptom.check == "random samples"
