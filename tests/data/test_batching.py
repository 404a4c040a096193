"""The batch axis is seen where there is one, and batches keep order, shapes and every sample."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycompress.data.batching import BatchAxis, runs, stacked
from deploycompress.records.signature import Signature, TensorSpec


@dataclass
class Row:
    feed: dict[str, Any]


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ({"x": ("float32", "n", 3)}, BatchAxis(True)),
        ({"x": ("float32", None, 3)}, BatchAxis(True)),
        ({"x": ("float32", 1, 3)}, BatchAxis(True, 1)),
        ({"x": ("float32", 8, 3)}, BatchAxis(True, 8)),
        ({"a": ("int64", "batch", "seq"), "b": ("int64", "batch", "seq")}, BatchAxis(True)),
        ({"a": ("int64", "batch", 4), "b": ("int64", None, 4)}, BatchAxis(True)),
        ({"a": ("float32", "n", 2), "b": ("float32", "m")}, BatchAxis(False)),
        ({"x": ("float32", "b", 576), "state": ("float32", 2, "b", 128), "rate": ("int64",)}, BatchAxis(False)),
        ({"x": ("float32", 1, 257), "cache": ("float32", 2, 16)}, BatchAxis(False)),
        ({"x": ("float32", 1, 3), "y": ("float32", None, 3)}, BatchAxis(False)),
        ({"x": ("", "n")}, BatchAxis(False)),
        ({}, BatchAxis(False)),
    ],
)
def test_batch_axis_is_where_all_inputs_agree(
    takes: Callable[..., Signature], inputs: dict[str, tuple[Any, ...]], expected: BatchAxis
) -> None:
    assert BatchAxis.of(takes(**inputs)) == expected


def test_input_of_unknown_rank_has_no_batch_axis() -> None:
    assert not BatchAxis.of(Signature((TensorSpec("x", "float32", None),), ())).exists


@given(st.lists(st.integers(1, 3), max_size=12), st.integers(1, 5))
def test_batches_are_consecutive_rows_of_equal_shape(lengths: list[int], size: int) -> None:
    rows = [Row({"x": np.full((1, length), index)}) for index, length in enumerate(lengths)]
    made = list(runs(iter(rows), size, keep_rest=True))
    assert [row for run in made for row in run] == rows
    for run in made:
        assert len(run) <= size
        assert len({row.feed["x"].shape for row in run}) == 1
        np.testing.assert_array_equal(stacked([row.feed for row in run])["x"], np.stack([r.feed["x"][0] for r in run]))
    for before, after in itertools.pairwise(made):  # a run ends early only where the shape changes
        assert len(before) == size or before[0].feed["x"].shape != after[0].feed["x"].shape


def test_fixed_batches_are_full_and_the_rest_is_dropped() -> None:
    rows = [Row({"x": np.full((1, 2), index)}) for index in range(7)]
    assert [len(run) for run in runs(iter(rows), 3, keep_rest=False)] == [3, 3]


def test_complete_feed_stays_alone_in_its_place() -> None:
    single, whole = Row({"x": np.zeros((1, 2))}), Row({"x": np.zeros((4, 2))})
    made = list(runs(iter([single, single, whole, whole, single]), 8, keep_rest=True))
    assert made == [[single, single], [whole], [whole], [single]]
