"""Samples that the user's own code makes, and the plain answers to code that does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deploycompress import data
from deploycompress.errors import DataRejectedError, DeployCompressError, UnknownNameError, UsageError
from deploycompress.records.signature import Signature

CODE = """
import numpy as np
calls = 0
def feeds():
    for i in range(4):
        yield {"x": np.full(3, i, np.float32)}
def batched():
    for i in range(4):
        yield {"x": np.full((1, 3), i, np.float32)}
def pairs():
    return [({"x": np.full(3, i, np.float32)}, np.int64(i)) for i in range(4)]
def stacked():
    return {"x": np.arange(4, dtype=np.float32)[:, None].repeat(3, 1), "label": [0, 1, 2, 3]}
def uneven():
    return {"x": np.zeros((4, 3)), "label": [0]}
def wrong():
    yield {"x": np.zeros(3, np.float32)}
    yield {"z": np.zeros(3, np.float32), "w": 1}
    yield np.zeros(3)
    yield {"x": np.zeros(3, np.float32)}, "cat"
def raising():
    yield {"x": np.zeros(3, np.float32)}
    raise RuntimeError("no\\nluck")
def shrinking():
    global calls
    calls += 1
    return [{"x": np.zeros(3, np.float32)}] * (4 - calls)
def big():
    yield {"x": np.zeros((5, 3), np.float32)}
def nothing():
    return None
generator = feeds()
table = {"x": np.zeros((4, 3), np.float32)}
number = 3
"""


@pytest.fixture
def code(tmp_path: Path) -> Callable[[str], str]:
    """Gives the reference of a function of the code above."""
    (tmp_path / "reader.py").write_text(CODE)
    return lambda name: f"{tmp_path / 'reader.py'}:{name}"


@pytest.fixture
def vectors(takes: Callable[..., Signature]) -> Signature:
    """A model that takes float32[n, 3]."""
    return takes(x=("float32", "n", 3))


@pytest.mark.parametrize(
    ("name", "labelled"), [("feeds", False), ("batched", False), ("pairs", True), ("stacked", True)]
)
def test_every_form_gives_the_samples(code: Callable, vectors: Signature, name: str, labelled: bool) -> None:
    samples = data.open(code(name), vectors)
    for _ in range(2):
        np.testing.assert_array_equal([sample.feed["x"] for sample in samples], [np.full((1, 3), i) for i in range(4)])
    assert [sample.label for sample in samples] == ([0, 1, 2, 3] if labelled else [None] * 4)
    assert samples.labelled is labelled
    assert [batch.feed["x"].shape for batch in samples.batches(3)] == [(3, 3), (1, 3)]


def test_table_of_arrays_needs_no_function(code: Callable, vectors: Signature) -> None:
    assert len(data.open(code("table"), vectors)) == 4


def test_batch_of_several_is_a_complete_feed(code: Callable, vectors: Signature) -> None:
    (sample,) = data.open(code("big"), vectors)
    assert sample.feed["x"].shape == (5, 3)


@pytest.mark.parametrize("name", ["feeds", "batched"])
def test_fixed_batch_is_filled_from_single_samples(code: Callable, takes: Callable[..., Signature], name: str) -> None:
    feeds = [sample.feed["x"][:, 0].tolist() for sample in data.open(code(name), takes(x=("float32", 2, 3)))]
    assert feeds == [[0, 1], [2, 3]]


def test_bad_items_are_listed(code: Callable, vectors: Signature) -> None:
    samples = data.open(code("wrong"), vectors)
    assert len(samples) == 1
    reasons = [skipped.reason for skipped in samples.skipped]
    assert "no array for input 'x'; it holds 'z', 'w'" in reasons[0]
    assert "it is a ndarray, not a feed" in reasons[1]
    assert "its label 'cat' is neither a class index nor a number" in reasons[2]


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("raising", DataRejectedError, "reader.py:raising: it raised RuntimeError: no luck"),
        ("nothing", DataRejectedError, "it raised TypeError: 'NoneType' object is not iterable"),
        ("uneven", UsageError, r"different numbers of samples: \[1, 4\]"),
        ("generator", UsageError, "it is a generator, which cannot be read twice; name a function"),
        ("number", UsageError, "it is a int, which cannot be read twice"),
        ("fedes", UnknownNameError, "unknown name 'fedes'; did you mean feeds"),
    ],
)
def test_code_that_does_not_work_is_told_in_a_line(
    code: Callable, vectors: Signature, name: str, kind: type[DeployCompressError], message: str
) -> None:
    with pytest.raises(kind, match=message) as caught:
        data.open(code(name), vectors)
    assert "\n" not in str(caught.value)


def test_function_that_gives_fewer_samples_the_second_time_is_noticed(code: Callable, vectors: Signature) -> None:
    samples = data.open(code("shrinking"), vectors)
    with pytest.raises(DataRejectedError, match="it gave 3 samples at first and 2 now"):
        list(samples)


def test_missing_file_is_a_usage_error(tmp_path: Path, vectors: Signature) -> None:
    with pytest.raises(UsageError, match="there is no such file"):
        data.open(f"{tmp_path}/absent.py:feeds", vectors)
