"""When ranges have settled, and the order that makes the question fair."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycompress.calibration.ranges import RANGE_METHODS, RangeMethod
from deploycompress.calibration.settling import FEWEST_SAMPLES, excess, rounds, settled
from deploycompress.calibration.statistics import Statistics, TensorStatistics
from tests.calibration.test_ranges import quantization_error

RNG = np.random.default_rng(0)
METHODS = tuple(RANGE_METHODS)


def of(values: np.ndarray) -> TensorStatistics:
    return TensorStatistics.of(values.astype(np.float32))


@pytest.mark.parametrize("method", METHODS)
def test_excess_is_the_error_on_all_values_with_the_range_of_the_half(method: RangeMethod) -> None:
    values = np.concatenate([RNG.normal(0, 1, 20_000), RNG.normal(0, 1.3, 20_000)])
    half, whole = of(values[:20_000]), of(values)
    seen = values.astype(np.float32).astype(float)
    errors = [quantization_error(seen, *RANGE_METHODS[method](each)) for each in (half, whole)]
    # The histogram rounds values to half a bin, r / 2048 = 1/256 here against steps of about 1/26: under 3 % of either.
    assert excess(half, whole, method) == pytest.approx(errors[0] / errors[1] - 1, abs=0.05)


@pytest.mark.parametrize("method", METHODS)
def test_the_same_values_twice_have_settled(method: RangeMethod) -> None:
    values = RNG.normal(0, 1, 10_000)
    before, after = of(values), of(np.concatenate([values, values]))
    assert settled(method)(Statistics({"x": before}, 32), Statistics({"x": after}, 64))
    assert not settled(method)(Statistics({"x": before}, 16), Statistics({"x": after}, 32))  # too few to ask


@pytest.mark.parametrize("method", METHODS)
def test_one_tensor_that_grows_is_enough_to_go_on(method: RangeMethod) -> None:
    same, grown = RNG.normal(0, 1, 10_000), RNG.normal(0, 4, 10_000)
    before = Statistics({"same": of(same), "grows": of(same)}, 64)
    after = Statistics({"same": of(same), "grows": of(np.concatenate([same, grown]))}, 128)
    assert not settled(method)(before, after)


def test_a_tensor_that_was_zero_so_far_has_not_settled() -> None:
    assert excess(of(np.zeros(9)), of(np.ones(9)), "mse") == np.inf
    assert excess(of(np.zeros(9)), of(np.zeros(18)), "mse") == 0.0


@given(st.integers(1, 700))
def test_every_prefix_is_spread_evenly_and_all_are_seen_once(count: int) -> None:
    seen: list[int] = []
    for positions in rounds(count):
        assert list(positions) == sorted(positions)
        seen += positions
        assert np.diff([*sorted(seen), count]).max() <= -(-count // len(seen))  # no gap wider than the mean, rounded up
    assert sorted(seen) == list(range(count))


def test_halves_of_every_question_end_a_round() -> None:
    ends = np.cumsum([len(positions) for positions in rounds(100)]).tolist()
    assert ends == [FEWEST_SAMPLES // 2, FEWEST_SAMPLES, 100]


def test_a_source_sorted_by_class_gives_every_class_a_part_of_the_first_round() -> None:
    classes = np.repeat(np.arange(8), 50)
    first = next(iter(rounds(len(classes))))
    assert set(classes[list(first)]) == set(range(8))
