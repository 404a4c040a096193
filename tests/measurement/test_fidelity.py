from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycompress.errors import DataRejectedError, UnsupportedError
from deploycompress.measurement.fidelity import fidelity


@given(st.integers(0, 2**32 - 1), st.integers(1, 20))
def test_figures_do_not_depend_on_the_batches_and_match_the_formulas(seed: int, split: int) -> None:
    rng = np.random.default_rng(seed)
    ref = rng.normal(size=(20, 5)).astype(np.float32)
    out = (ref + 0.1 * rng.normal(size=ref.shape)).astype(np.float32)
    pairs = [
        ({"y": a}, {"y": b}) for a, b in zip(np.split(ref, [split]), np.split(out, [split]), strict=True) if len(a)
    ]
    found = fidelity(pairs)
    r, o = ref.astype(np.float64), out.astype(np.float64)
    # Sums of 100 doubles in another order: a few units of 1e-16 relative, far inside 1e-9.
    assert found.sqnr_db == pytest.approx(10 * math.log10((r**2).sum() / ((r - o) ** 2).sum()), rel=1e-9)
    assert found.cosine == pytest.approx((r * o).sum() / np.linalg.norm(r) / np.linalg.norm(o), rel=1e-9)
    assert found.max_abs == np.abs(r - o).max()
    assert found.max_rel == pytest.approx(np.abs(r - o).max() / np.abs(r).max(), rel=1e-12)
    assert found.agreement == (r.argmax(1) == o.argmax(1)).mean()
    assert found.count == 20


def test_equal_outputs_have_infinite_sqnr() -> None:
    same = {"y": np.arange(6.0).reshape(2, 3)}
    found = fidelity([(same, same)])
    assert (found.sqnr_db, found.max_abs, found.max_rel, found.agreement) == (math.inf, 0.0, 0.0, 1.0)


def test_all_outputs_count_and_agreement_looks_at_the_first() -> None:
    ref = {"scores": np.array([[0.0, 1.0]]), "box": np.array([[3.0, 4.0]])}
    out = {"scores": np.array([[0.0, 1.0]]), "box": np.array([[4.0, 3.0]])}
    found = fidelity([(ref, out)])
    assert found.agreement == 1.0
    assert found.sqnr_db == pytest.approx(10 * math.log10(26 / 2))


def test_outputs_are_matched_by_position() -> None:
    assert fidelity([({"a": np.ones((1, 2))}, {"b": np.ones((1, 2))})]).max_abs == 0.0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_non_finite_value_of_the_candidate_alone_is_infinitely_wrong(bad: float) -> None:
    found = fidelity([({"y": np.array([[1.0, 2.0]])}, {"y": np.array([[1.0, bad]])})])
    assert (found.sqnr_db, found.max_abs, found.max_rel) == (-math.inf, math.inf, math.inf)
    assert found.cosine == 0.0


def test_rows_with_nan_are_no_decisions() -> None:
    scores, broken = np.array([[2.0, 1.0], [1.0, 2.0]]), np.array([[np.nan, 1.0], [1.0, 2.0]])
    assert fidelity([({"y": scores}, {"y": broken})]).agreement == 0.5  # NumPy calls the first NaN the largest
    assert fidelity([({"y": broken}, {"y": broken})]).agreement == 1.0


def test_non_finite_values_of_both_are_equal() -> None:
    both = {"y": np.array([[np.nan, np.inf, -np.inf, 1.0]])}
    assert fidelity([(both, both)]).sqnr_db == math.inf
    turned = {"y": np.array([[np.nan, -np.inf, -np.inf, 1.0]])}
    assert fidelity([(both, turned)]).sqnr_db == -math.inf


def test_half_precision_is_summed_in_double() -> None:
    # 70,000 is beyond float16; 300^2 alone overflows it.
    big = np.full((1, 100), 300.0, np.float16)
    found = fidelity([({"y": big}, {"y": big + np.float16(1)})])
    assert found.sqnr_db == pytest.approx(20 * math.log10(300))


def test_zero_reference_with_a_wrong_candidate_has_no_signal() -> None:
    found = fidelity([({"y": np.zeros((1, 2))}, {"y": np.ones((1, 2))})])
    assert (found.sqnr_db, found.max_rel, found.cosine) == (-math.inf, math.inf, None)


def test_single_column_has_no_agreement() -> None:
    assert fidelity([({"y": np.ones((4, 1))}, {"y": np.ones((4, 1))})]).agreement is None


def test_outputs_of_unlike_shape_number_or_kind_are_refused_by_name() -> None:
    with pytest.raises(UnsupportedError, match=r"y: the baseline gives \[1, 2\], this model \[1, 3\]"):
        fidelity([({"y": np.ones((1, 2))}, {"y": np.ones((1, 3))})])
    with pytest.raises(UnsupportedError, match="the baseline has 1 outputs, this model 2"):
        fidelity([({"y": np.ones(1)}, {"y": np.ones(1), "z": np.ones(1)})])
    with pytest.raises(UnsupportedError, match="y: the outputs hold no numbers"):
        fidelity([({"y": np.array(["a"], object)}, {"y": np.array(["a"], object)})])


def test_no_samples_is_an_error() -> None:
    with pytest.raises(DataRejectedError, match="no samples to compare"):
        fidelity([])
