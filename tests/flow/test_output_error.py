"""Error of outputs relative to their variation: against the formula in plain numpy, without padded positions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from deploycompress.errors import UnsupportedError
from deploycompress.flow.output_error import relative_error
from tests.zoo import normal


def test_it_is_the_rms_of_the_error_over_the_standard_deviation() -> None:
    y, other = (normal(6, 5, seed=seed).astype(np.float64) * 3 + 7 for seed in (0, 1))
    expected = math.sqrt(((y - other) ** 2).mean() / y.var())
    feeds = [({}, {"y": y[part]}, {"y": other[part]}) for part in (slice(0, 2), slice(2, 6))]
    assert relative_error(feeds) == pytest.approx(expected, rel=1e-9)


def test_equal_outputs_have_none_and_a_constant_has_all() -> None:
    y = normal(50, 5)
    assert relative_error([({}, {"y": y}, {"y": y})]) == 0.0
    assert relative_error([({}, {"y": y}, {"y": np.full_like(y, y.mean())})]) == pytest.approx(1.0, rel=1e-6)


def test_every_output_weighs_alike() -> None:
    y, other = (normal(40, 3, seed=seed).astype(np.float64) for seed in (0, 1))
    alone = relative_error([({}, {"y": y}, {"y": other})])
    both = relative_error([({}, {"y": y, "big": 100 * y}, {"y": other, "big": 100 * other})])
    assert both == pytest.approx(alone, rel=1e-9)


def test_padded_positions_and_integers_do_not_count() -> None:
    y, other = normal(2, 3, 4), normal(2, 3, 4)
    other[1, 2] += 1e6
    mask = np.array([[1, 1, 1], [1, 1, 0]])
    outputs = {"y": y, "n": np.ones(2, np.int64)}, {"y": other, "n": np.zeros(2, np.int64)}
    assert relative_error([({"attention_mask": mask}, *outputs)]) == 0.0
    assert relative_error([({}, *outputs)]) > 1e4


def test_a_nan_is_infinitely_wrong() -> None:
    y, other = normal(4, 3), normal(4, 3)
    other[1, 1] = np.nan
    assert relative_error([({}, {"y": y}, {"y": other})]) == math.inf


def test_what_is_not_finite_in_both_does_not_count() -> None:
    y, other = normal(4, 3), normal(4, 3, seed=1)
    plain = relative_error([({}, {"y": y[1:]}, {"y": other[1:]})])
    y[0], other[0] = [np.nan, np.inf, -np.inf], [np.nan, np.inf, -np.inf]
    assert relative_error([({}, {"y": y}, {"y": other})]) == pytest.approx(plain)
    other[0, 1] = -np.inf
    assert relative_error([({}, {"y": y}, {"y": other})]) == math.inf


def test_outputs_without_floats_cannot_be_compared() -> None:
    with pytest.raises(UnsupportedError, match="there is no float output to compare"):
        relative_error([({}, {"n": np.ones(2, np.int64)}, {"n": np.ones(2, np.int64)})])
