"""Zeros: exact counts, each method's own optimum, and the order of their errors on correlated inputs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycompress.pruning import sparse
from deploycompress.pruning.sparse import Pattern
from tests import zoo


def problem(seed: int, features: int = 24, outputs: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """A weight and correlated rows on very different scales, as activations are."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((200, features)) @ rng.standard_normal((features, features))
    return rng.standard_normal((features, outputs)), rows * np.exp(rng.standard_normal(features))


def wrong(weight: np.ndarray, found: np.ndarray, rows: np.ndarray) -> float:
    return float(((rows @ (weight - found)) ** 2).sum() / ((rows @ weight) ** 2).sum())


@given(st.integers(0, 999), st.sampled_from([0.1, 0.5, 0.9]), st.booleans())
def test_a_share_and_a_pattern_are_met_to_the_element(seed: int, share: float, n_of_m: bool) -> None:
    weight, rows = problem(seed)
    products = rows.T @ rows
    pattern = Pattern(kept=1, of=4) if n_of_m else Pattern(share)
    found = [
        sparse.magnitude(weight, pattern),
        sparse.wanda(weight, pattern, products),
        sparse.sparsegpt(weight, pattern, products),
    ]
    for each in found:
        if n_of_m:
            assert ((each.reshape(-1, 4, 10) != 0).sum(axis=1) == 1).all()
        else:
            # Wanda has the share in every column of 24, the others in the whole layer of 240.
            columns = 10 if each is found[1] else 1
            assert (each == 0).sum() == columns * round(share * (240 // columns))
    np.testing.assert_array_equal(found[0][found[0] != 0], weight[found[0] != 0])


def test_magnitude_keeps_the_largest_and_wanda_what_carries_most() -> None:
    weight = np.array([[3.0, -1.0], [-2.0, 4.0], [1.0, 0.5], [0.1, 2.0]])
    np.testing.assert_array_equal(sparse.magnitude(weight, Pattern(0.5)), [[3, 0], [-2, 4], [0, 0], [0, 2]])
    loud = np.diag([1.0, 1.0, 100.0, 1.0])
    np.testing.assert_array_equal(sparse.wanda(weight, Pattern(0.5), loud), [[3, 0], [0, 4], [1, 0.5], [0, 0]])
    np.testing.assert_array_equal(sparse.magnitude(weight, Pattern(kept=1, of=2)), [[3, 0], [0, 4], [1, 0], [0, 2]])


def test_inputs_without_correlation_make_sparsegpt_magnitude() -> None:
    weight = zoo.normal(24, 10).astype(np.float64)
    for pattern in (Pattern(0.6), Pattern(kept=2, of=4)):
        np.testing.assert_allclose(
            sparse.sparsegpt(weight, pattern, np.eye(24)), sparse.magnitude(weight, pattern), atol=1e-12
        )


@pytest.mark.parametrize("pattern", [Pattern(0.5), Pattern(kept=2, of=4)])
def test_errors_fall_from_magnitude_to_wanda_to_sparsegpt(pattern: Pattern) -> None:
    errors = []
    for seed in range(20):
        weight, rows = problem(seed)
        products = rows.T @ rows
        found = (
            sparse.magnitude(weight, pattern),
            sparse.wanda(weight, pattern, products),
            sparse.sparsegpt(weight, pattern, products),
        )
        errors.append([wrong(weight, each, rows) for each in found])
    first, second, third = np.mean(errors, axis=0)
    assert first > 1.5 * second  # 2 and more on these scales; 1.45 below
    assert second > 1.2 * third


def test_what_sparsegpt_leaves_is_the_least_squares_of_what_follows() -> None:
    """One zero, in the first feature: the others become the regression of the old output on them."""
    weight, rows = problem(3, features=5, outputs=1)
    weight[0] = 1e-9
    weight[0], products = 0.01, rows.T @ rows
    products += 0.01 * np.diagonal(products).mean() * np.eye(5)
    undamped = rows.T @ rows
    found = sparse.sparsegpt(weight, Pattern(0.2), undamped)
    assert np.flatnonzero(found == 0).tolist() == [0]
    best = np.linalg.solve(products[1:, 1:], products[1:] @ weight)
    np.testing.assert_allclose(found[1:], best, rtol=1e-8)


@given(st.integers(0, 999), st.sampled_from([0.3, 0.8]))
def test_lamp_scores_and_the_share_of_all_layers_together(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    weights = [rng.standard_normal((8, 6)), 0.01 * rng.standard_normal((5, 4)), 7 * rng.standard_normal((30, 9))]
    for weight in weights:
        scores = sparse.lamp_scores(weight)
        by_hand = [[value**2 / (weight[np.abs(weight) >= abs(value)] ** 2).sum() for value in row] for row in weight]
        np.testing.assert_allclose(scores, by_hand)
        assert scores.max() == 1
        assert scores.min() > 0
    found = sparse.lamp(weights, share)
    assert sum(int((each == 0).sum()) for each in found) == round(share * sum(each.size for each in weights))
    assert all((each != 0).any() for each in found)
