from __future__ import annotations

import math

import numpy as np
import pytest

from deploycompress.measurement.sections import quantile_interval


def test_interval_is_student_s_over_the_distances_of_the_sections() -> None:
    # Sections with medians 1, 2, 4 and an overall median of 2: distances -log 2, 0, log 2; S = log 2; t(0.975, 2) =
    # 4.3027 (any table); r = 4.3027 log 2 / sqrt 3.
    times = np.array([[1.0, 1.0], [2.0, 2.0], [4.0, 4.0]])
    found = quantile_interval(times, 0.5, sections=3)
    reach = 4.3027 * math.log(2) / math.sqrt(3)
    assert (found.low, found.high) == pytest.approx((2 * math.exp(-reach), 2 * math.exp(reach)), rel=1e-4)


@pytest.mark.parametrize(("level_sd", "phi"), [(0.0, 0.0), (0.03, 0.9)])
def test_median_is_covered_with_and_without_differences_between_sections(level_sd: float, phi: float) -> None:
    # 400 intervals at 95 %: Binomial(400, 0.95), mean 380, sd 4.4; four sd either way. Processes that differ (0.03) and
    # rounds that follow one another (0.9) make a bootstrap over rounds cover some 85 %, and drawing processes and then
    # rounds makes it cover 99 % where they do not.
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(400):
        noise = rng.normal(size=(5, 8))
        slow = noise.copy()
        for t in range(1, 8):
            slow[:, t] = phi * slow[:, t - 1] + math.sqrt(1 - phi * phi) * noise[:, t]
        logs = level_sd * rng.normal(size=(5, 1)) + 0.05 * slow
        times = np.exp(logs.reshape(40, 1) + 0.05 * rng.normal(size=(40, 10)))
        found = quantile_interval(times, 0.5, sections=5)
        covered += found.low <= 1.0 <= found.high
    assert 362 <= covered <= 397


def test_equal_times_have_an_interval_of_no_width() -> None:
    found = quantile_interval(np.full((4, 3), 0.012), 0.95, sections=2)
    assert (found.low, found.high) == (0.012, 0.012)


@pytest.mark.parametrize("sections", [1, 5])
def test_sections_that_cannot_be_cut_are_an_error(sections: int) -> None:
    with pytest.raises(ValueError, match=f"4 rounds cannot be cut into {sections} sections"):
        quantile_interval(np.ones((4, 1)), 0.5, sections=sections)
