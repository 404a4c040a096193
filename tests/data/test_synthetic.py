"""Random samples fit the signature, repeat themselves, and are void for accuracy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from deploycompress import data
from deploycompress.errors import UnsupportedError, UsageError
from deploycompress.records.signature import Signature, TensorSpec

Takes = Callable[..., Signature]


def test_feeds_fit_the_signature(takes: Takes) -> None:
    signature = takes(
        input_ids=("int64", "b", "s"), attention_mask=("int64", "b", "s"), x=("float16", "b", 3), s=("str", "b", 2)
    )
    samples = data.open("random:5", signature)
    assert len(samples) == 5
    for sample in samples:
        assert set(np.unique(sample.feed["input_ids"])) <= {0, 1}
        assert (sample.feed["attention_mask"] == 1).all()
        assert sample.feed["input_ids"].shape == sample.feed["attention_mask"].shape == (1, 8)
        assert sample.feed["x"].dtype == np.float16
        assert sample.feed["s"].tolist() == [["a", "a"]]
    assert [batch.feed["x"].shape for batch in samples.batches(3)] == [(3, 3), (2, 3)]


def test_samples_are_void_for_accuracy_and_say_so(takes: Takes) -> None:
    samples = data.open("random", takes(x=("float32", "n", 3)))
    assert (samples.valid_for_accuracy, samples.labelled) == (False, False)
    assert any("void" in note for note in samples.notes)


def test_samples_differ_from_each_other_and_repeat_themselves(takes: Takes) -> None:
    samples = data.open("random:3", takes(x=("float32", "n", 3)))
    first = [sample.feed["x"] for sample in samples]
    np.testing.assert_array_equal(first, [sample.feed["x"] for sample in samples])
    assert not np.array_equal(first[0], first[1])
    assert samples.fingerprint == data.open("random:3", takes(x=("float32", "n", 3))).fingerprint


def test_fixed_shapes_are_kept_whole(takes: Takes) -> None:
    signature = takes(x=("float32", 2, 3), state=("float32", 5), rate=("int64",))
    (sample,) = data.open("random:1", signature)
    assert {name: array.shape for name, array in sample.feed.items()} == {"x": (2, 3), "state": (5,), "rate": ()}
    (fixed,) = data.open("random:1", takes(x=("float32", 4, 3)))
    assert fixed.feed["x"].shape == (4, 3)


def test_limit_cuts_the_number(takes: Takes) -> None:
    assert len(data.open("random:100", takes(x=("float32", "n", 3)), limit=2)) == 2


@pytest.mark.parametrize("source", ["random:", "random:0", "random:-1", "random:many"])
def test_number_that_is_none_is_a_usage_error(takes: Takes, source: str) -> None:
    with pytest.raises(UsageError, match="write random or random:100"):
        data.open(source, takes(x=("float32", "n", 3)))


@pytest.mark.parametrize("dtype", ["", "bfloat16", "int4"])
def test_input_that_cannot_be_drawn_is_named(dtype: str) -> None:
    with pytest.raises(UnsupportedError, match="random data cannot be made for x"):
        data.open("random", Signature((TensorSpec("x", dtype, ("n",)),), ()))
