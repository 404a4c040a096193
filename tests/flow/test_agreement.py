"""Which outputs count as equal."""

from __future__ import annotations

import numpy as np
import pytest

from deploycompress.flow.agreement import difference

ONES = np.ones(4, np.float32)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (ONES * 1000, ONES * 1000 + np.float32(0.009)),  # 9e-6 of the largest value
        (np.asarray([1e6, 0], np.float32), np.asarray([1e6, 9], np.float32)),  # small beside the largest
        (np.asarray([np.nan, np.inf, 1], np.float32), np.asarray([np.nan, np.inf, 1], np.float32)),
        (np.zeros((2, 0), np.float32), np.zeros((2, 0), np.float32)),
        (np.zeros(3, np.float32), np.zeros(3, np.float32)),
        (np.asarray([1, 2]), np.asarray([1, 2])),
        (np.asarray(["a", "b"], object), np.asarray(["a", "b"], object)),
        ([ONES, ONES], [ONES, ONES]),
        ([{"a": 0.5}], [{"a": 0.5}]),
        ([], []),
    ],
)
def test_equal_up_to_rounding(before: object, after: object) -> None:
    assert difference({"y": before}, {"y": after}) is None


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (ONES, ONES * np.float32(1 + 2e-5), "differs by 2.00e-05"),
        (ONES, ONES.astype(np.float64), "is float64[4] instead of float32[4]"),
        (ONES, ONES[:3], "is float32[3] instead of float32[4]"),
        (ONES, ONES * np.float32(np.nan), "has NaN or infinity in other places"),
        (ONES * np.float32(np.inf), ONES * np.float32(-np.inf), "has NaN or infinity in other places"),
        (np.zeros(3, np.float32), np.full(3, 1e-30, np.float32), "differs by 1.00e-30"),
        (np.asarray([1, 2]), np.asarray([1, 3]), "differs in 1 of 2 elements"),
        (np.asarray([True]), np.asarray([False]), "differs in 1 of 1 elements"),
        (np.asarray(["a"], object), np.asarray(["b"], object), "differs in 1 of 1 elements"),
        ([ONES], [ONES, ONES], "has 2 elements instead of 1"),
        ([ONES, ONES], [ONES, -ONES], "differs by 2.00e+00"),
        ([{"a": 0.5}], [{"b": 0.5}], "has other keys"),
        ([{"a": 0.5}], [{"a": 0.6}], "differs by 1.00e-01"),
    ],
)
def test_difference_is_told_with_the_name_of_the_output(before: object, after: object, said: str) -> None:
    found = difference({"x": ONES, "y": before}, {"x": ONES, "y": after})
    assert found is not None
    assert found.startswith(f"output 'y' {said}")


def test_other_outputs_are_a_difference() -> None:
    assert difference({"a": ONES, "b": ONES}, {"b": ONES, "a": ONES}) == "the outputs are b, a instead of a, b"
