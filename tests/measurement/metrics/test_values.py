"""Every metric against an oracle that shares no code with it, on samples and on draws of samples."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycompress.measurement.metrics.choice import named
from deploycompress.measurement.metrics.metric import Metric


def f1_of(y: np.ndarray, p: np.ndarray, c: float) -> float:
    tp, fp, fn = ((y == c) & (p == c)).sum(), ((y != c) & (p == c)).sum(), ((y == c) & (p != c)).sum()
    return 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 0.0


def f1_macro(table: np.ndarray) -> float:
    y, p = table.T
    return float(np.mean([f1_of(y, p, c) for c in sorted(set(y.tolist()) | set(p.tolist()))]))


def matthews(table: np.ndarray) -> float:
    """Gorodkin's R_K as the correlation of two one-hot matrices."""
    classes = np.unique(table)
    x, y = (table[:, column, None] == classes for column in (0, 1))
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    norm = math.sqrt((x * x).sum() * (y * y).sum())
    return float((x * y).sum() / norm) if norm else 0.0


def pearson(table: np.ndarray) -> float:
    return float(np.corrcoef(table.T)[0, 1])


def mid_ranks(values: np.ndarray) -> np.ndarray:
    return np.array([(values < v).sum() + ((values == v).sum() + 1) / 2 for v in values])


def spearman(table: np.ndarray) -> float:
    return float(np.corrcoef(mid_ranks(table[:, 0]), mid_ranks(table[:, 1]))[0, 1])


DECIDED: list[tuple[str, Callable[[np.ndarray], float]]] = [
    ("top-1", lambda t: float(np.mean([a == b for a, b in t]))),
    ("f1", lambda t: f1_of(t[:, 0], t[:, 1], 1)),
    ("f1-macro", f1_macro),
    ("matthews", matthews),
]
REAL: list[tuple[str, Callable[[np.ndarray], float]]] = [("pearson", pearson), ("spearman", spearman)]


def agrees_on_draws(metric: Metric, oracle: Callable[[np.ndarray], float], table: np.ndarray, seed: int) -> None:
    """The value of all samples, and of draws with replacement, which the oracle sees as repeated rows."""
    # All sums are of at most 40 float64 products: 1e-9 leaves six digits for the cancellation in a correlation.
    assert metric.of(table) == pytest.approx(oracle(table), abs=1e-9)
    weights = np.random.default_rng(seed).multinomial(len(table), np.full(len(table), 1 / len(table)), size=3)
    for found, counts in zip(metric.value(table, weights.astype(float)), weights, strict=True):
        assert found == pytest.approx(oracle(np.repeat(table, counts, axis=0)), abs=1e-9)


@pytest.mark.parametrize(("name", "oracle"), DECIDED)
@given(seed=st.integers(0, 2**32 - 1), classes=st.integers(2, 5))
def test_decisions_match_the_definition(
    name: str, oracle: Callable[[np.ndarray], float], seed: int, classes: int
) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, size=30)
    guess = np.where(rng.random(30) < 0.6, truth, rng.integers(0, classes, size=30))
    agrees_on_draws(named(name), oracle, np.stack([truth, guess], axis=1).astype(float), seed)


@pytest.mark.parametrize(("name", "oracle"), REAL)
@given(seed=st.integers(0, 2**32 - 1), ties=st.booleans())
def test_correlations_match_the_definition(
    name: str, oracle: Callable[[np.ndarray], float], seed: int, ties: bool
) -> None:
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 6, size=40).astype(float) if ties else 1e3 + rng.normal(size=40)
    table = np.stack([x + rng.integers(0, 3, size=40), x], axis=1)
    agrees_on_draws(named(name), oracle, table, seed)


@pytest.mark.parametrize(("name", "ours"), [("f1-macro", "f1"), ("matthews", "mcc"), ("spearman", "spearman")])
def test_published_implementations_agree(name: str, ours: str) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 4, size=200)
    guess = np.where(rng.random(200) < 0.5, truth, rng.integers(0, 4, size=200))
    expected = {
        "f1": lambda: metrics.f1_score(truth, guess, average="macro"),
        "mcc": lambda: metrics.matthews_corrcoef(truth, guess),
        "spearman": lambda: stats.spearmanr(truth, guess).statistic,
    }[ours]()
    assert named(name).of(np.stack([truth, guess], axis=1).astype(float)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", ["matthews", "pearson", "spearman"])
def test_model_that_always_answers_the_same_has_no_correlation(name: str) -> None:
    table = (
        np.array([[0.1, 1.0], [0.1, 2.0], [0.1, 3.0]]) if name != "matthews" else np.array([[0.0, 1], [1, 1], [1, 1]])
    )
    assert named(name).of(table) == 0.0


def test_sample_without_a_prediction_counts_against_its_class_only() -> None:
    table = named("f1-macro").table(np.array([[1.0, 0], [0, 1], [np.nan, 1]]), [0, 1, 1])
    # Class 0: all right, 1. Class 1: one right, none wrongly called it, one missed: 2 / 3.
    assert named("f1-macro").of(table) == pytest.approx((1 + 2 / 3) / 2)


@pytest.mark.parametrize("shape", [(), (7,)])
def test_nll_is_that_of_torch(shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    scores = 5 * rng.normal(size=(6, *shape, 11))
    labels = rng.integers(0, 11, size=(6, *shape))
    if shape:
        labels[0, :3] = -100
    flat = torch.tensor(scores.reshape(-1, 11)), torch.tensor(labels.reshape(-1))
    expected = float(torch.nn.functional.cross_entropy(*flat))
    given_labels = list(labels) if shape else labels.tolist()
    table = named("nll").table(scores, given_labels)
    assert named("nll").of(table) == pytest.approx(expected, rel=1e-12)
    assert named("perplexity").of(table) == pytest.approx(math.exp(expected), rel=1e-12)


def test_nll_of_large_scores_does_not_overflow() -> None:
    assert named("nll").of(named("nll").table(np.array([[1e4, 0.0]]), [1])) == pytest.approx(1e4)


@pytest.mark.parametrize(("dtype", "peak"), [(np.uint8, 255), (np.float32, 1)])
def test_psnr_matches_the_definition(dtype: type, peak: int) -> None:
    rng = np.random.default_rng(0)
    references = (rng.random((3, 1, 4, 4)) * peak).astype(dtype)
    pictures = references.astype(np.float32) + 0.05 * peak * rng.normal(size=references.shape).astype(np.float32)
    errors = [((a.astype(float) - b.astype(float)) ** 2).mean() for a, b in zip(references, pictures, strict=True)]
    expected = np.mean([10 * math.log10(peak**2 / error) for error in errors])
    assert named("psnr").of(named("psnr").table(pictures, list(references))) == pytest.approx(expected, rel=1e-9)


def test_psnr_of_equal_pictures_is_a_hundred() -> None:
    picture = np.full((1, 2, 2), 0.5)
    assert named("psnr").of(named("psnr").table(picture, list(picture))) == 100.0
