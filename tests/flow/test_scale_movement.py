"""Scales that have settled do not move, scales that hang on one sample do, and more samples move less."""

from __future__ import annotations

import numpy as np
import pytest

from deploycompress.flow.scale_movement import Settling, settling, too_few
from deploycompress.records.symptoms import Symptom


def of(highs: np.ndarray) -> Settling:
    found = settling([f"t{n}" for n in range(highs.shape[1])], np.zeros_like(highs), highs)
    assert found is not None
    return found


def test_equal_samples_do_not_move_at_all() -> None:
    found = of(np.full((40, 3), 2.0))
    assert (found.median, found.worst, found.median_with_more) == (0, 0, 0)


def test_tensor_that_hangs_on_one_sample_is_named() -> None:
    highs = np.ones((40, 3))
    highs[7, 1] = 10.0
    found = of(highs)
    # Two draws of 40 disagree on whether sample 7 is among them in nearly half of the cases: 1 against 10.
    assert (found.tensor, found.median) == ("t1", 0)
    assert found.worst == pytest.approx(0.9)


@pytest.mark.parametrize("count", [16, 64])
def test_forecast_for_four_times_the_samples_comes_true(count: int) -> None:
    # Exponential maxima, 60 tensors. "About": a bootstrap repeats its largest sample, so it declines a little too fast;
    # eight seeds gave forecasts of 0.67 to 0.93 times the truth.
    rng = np.random.default_rng(1)
    few, many = of(rng.exponential(size=(count, 60))), of(rng.exponential(size=(4 * count, 60)))
    assert few.median_with_more == pytest.approx(many.median, rel=0.4)
    assert many.median < few.median


def test_movement_is_that_of_two_independent_draws() -> None:
    # Brute force over the true distribution instead of the bootstrap: uniform maxima of 64.
    rng = np.random.default_rng(2)
    one, two = (rng.random((4000, 64)).max(axis=1) for _ in range(2))
    exact = float(np.quantile(np.abs(one - two) / np.maximum(one, two), 0.95))
    found = of(np.random.default_rng(3).random((64, 200)))
    assert found.median == pytest.approx(exact, rel=0.25)  # the bootstrap repeats the largest sample, 63 % of the time


def symptoms(found: Settling | None, count: int) -> list[Symptom]:
    return list(too_few(found, count))


def test_few_samples_are_remarked_on_with_the_number_that_would_do() -> None:
    assert settling(["t"], np.zeros((7, 1)), np.ones((7, 1))) is None
    assert "7 samples are too few to say" in symptoms(None, 7)[0].found
    moving = Settling(16, 0.8, 0.9, "t", 64, 0.4)
    (symptom,) = symptoms(moving, 16)
    assert symptom.check == "too few samples"
    # 0.8 at 16 and 0.4 at 64: the line passes 0.25 at 16 * (0.8 / 0.25)^2 = 163.84
    assert symptom.remedy == "give 164 samples or more"
    assert symptoms(Settling(260, 0.09, 0.36, "t", 1040, 0.05), 260) == []


def test_infinite_and_empty_tensors_are_left_out() -> None:
    highs = np.ones((10, 3))
    highs[:, 1], highs[3, 2] = 0.0, np.inf
    assert of(highs).tensor == "t0"
