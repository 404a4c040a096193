"""Gram matrices against the layers themselves: |X W|^2 as the reference operators compute it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploycompress.calibration.gram import Gram, LayerInput
from tests.zoo import model, normal


def layer_of(text: str, **weights: np.ndarray) -> LayerInput:
    nodes = list(model(text, **weights).graph)
    found = LayerInput.of(nodes[-1])
    assert found is not None
    return found


def output(text: str, feed: np.ndarray, **weights: np.ndarray) -> np.ndarray:
    """The layer in float64, by the reference implementation of the operators."""
    from onnx.reference import ReferenceEvaluator

    from deploycompress import model as models

    built = model(text, **weights)
    return np.asarray(ReferenceEvaluator(models.serialize(built)).run(None, {"x": feed})[0], np.float64)


@pytest.mark.parametrize(
    ("text", "shape", "weight"),
    [
        ("g (float[N,S,6] x) => (float[N,S,4] y) { y = MatMul(x, w) }", (2, 3, 6), (6, 4)),
        ("g (float[N,6] x) => (float[N,4] y) { y = Gemm(x, w) }", (5, 6), (6, 4)),
        ("g (float[N,6] x) => (float[N,4] y) { y = Gemm <transB = 1> (x, w) }", (5, 6), (4, 6)),
        ("g (float[6,N] x) => (float[N,4] y) { y = Gemm <transA = 1> (x, w) }", (6, 5), (6, 4)),
    ],
)
def test_the_energy_of_a_product_follows_from_the_gram(
    text: str, shape: tuple[int, ...], weight: tuple[int, ...]
) -> None:
    w, x = normal(*weight), normal(*shape, seed=1)
    gram = Gram.of(layer_of(text, w=w), x)
    matrix = (w.T if "transB" in text else w).astype(np.float64)
    energy = np.einsum("ko,kl,lo->o", matrix, gram.products[0], matrix)
    y = output(text, x, w=w).reshape(-1, 4)
    # y is a float32 sum of 6 products: 6 ulp of the largest term.
    np.testing.assert_allclose(energy, (y**2).sum(axis=0), rtol=2e-6)
    np.testing.assert_allclose(gram.sums[0] @ matrix, y.sum(axis=0), rtol=1e-5, atol=1e-5)
    assert gram.count == len(y)


CONVOLUTIONS = [
    "",
    "<pads = [1, 0, 2, 1]>",
    "<strides = [2, 1]>",
    "<dilations = [1, 2], pads = [2, 2, 2, 2]>",
    "<group = 2>",
    '<auto_pad = "SAME_UPPER", strides = [2, 1]>',
    '<auto_pad = "SAME_LOWER", strides = [2, 1]>',
    '<auto_pad = "VALID">',
]


@pytest.mark.parametrize("attributes", CONVOLUTIONS)
def test_the_energy_of_a_convolution_follows_from_the_gram(attributes: str) -> None:
    text = f"g (float[N,4,H,W] x) => (float[N,6,K,L] y) {{ y = Conv {attributes} (x, w) }}"
    groups = 2 if "group" in attributes else 1
    w, x = normal(6, 4 // groups, 3, 2), normal(2, 4, 7, 8, seed=1)
    gram = Gram.of(layer_of(text, w=w), x)
    y = output(text, x, w=w)
    assert gram.count == y.shape[0] * y.shape[2] * y.shape[3]
    for group in range(groups):
        matrix = w[group * 6 // groups : (group + 1) * 6 // groups].reshape(6 // groups, -1).astype(np.float64)
        energy = np.einsum("ok,kl,ol->o", matrix, gram.products[group], matrix)
        expected = (y[:, group * 6 // groups : (group + 1) * 6 // groups] ** 2).sum(axis=(0, 2, 3))
        np.testing.assert_allclose(energy, expected, rtol=1e-5)  # y is a float32 sum of 24 products


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(0, 9))
def test_any_split_of_the_rows_gives_the_same_moments(rows: int, cut: int) -> None:
    layer = LayerInput("x", 5)
    x = normal(rows, 5, seed=rows)
    whole = Gram.of(layer, x)
    parts = Gram.of(layer, x[:cut]).merge(Gram.of(layer, x[cut:]))
    assert parts.count == whole.count == rows
    # Sums of at most 9 float64 products in another order.
    np.testing.assert_allclose(parts.products, whole.products, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(parts.sums, whole.sums, rtol=1e-13, atol=1e-13)


def test_rows_are_cut_into_blocks_without_changing_the_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = layer_of("g (float[N,4,H,W] x) => (float[N,6,K,L] y) { y = Conv(x, w) }", w=normal(6, 4, 3, 3))
    x = normal(2, 4, 9, 9)
    whole = Gram.of(layer, x)
    monkeypatch.setattr("deploycompress.calibration.gram._BLOCK", 300)  # under two rows of patches
    np.testing.assert_allclose(Gram.of(layer, x).products, whole.products, rtol=1e-12)


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("g (float[N,3] x, float[N,3] w) => (float[N,3] y) { y = Add(x, w) }", None),
        ("g (float[A,B] x, float[B,C] w) => (float[A,C] y) { y = MatMul(x, w) }", None),
    ],
)
def test_nodes_without_weights_of_known_shape_have_no_gram(text: str, shape: None) -> None:
    assert shape is None
    assert LayerInput.of(next(iter(model(text).graph))) is None


def test_an_image_smaller_than_the_kernel_has_no_rows() -> None:
    layer = layer_of("g (float[N,4,H,W] x) => (float[N,6,K,L] y) { y = Conv(x, w) }", w=normal(6, 4, 3, 3))
    assert Gram.of(layer, normal(1, 4, 2, 2)).count == 0
