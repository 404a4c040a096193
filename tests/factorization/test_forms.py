"""Full ranks give the kernel back, lower ranks what theory says; what is written computes what the factors say."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploycompress.factorization import Factors, Layer, composed, macs, parameters, replace
from deploycompress.factorization.candidates import METHODS, candidates
from deploycompress.factorization.cp import cp
from deploycompress.factorization.factors import Factor, features, with_last
from deploycompress.factorization.low_rank import plain, whitened
from deploycompress.factorization.separable import separable
from deploycompress.factorization.spatial import spatial, spectrum
from deploycompress.factorization.tucker import tucker
from deploycompress.pruning import cost
from tests import zoo
from tests.passes.running import checks, feed, outputs

# Factors are found in float64 and written in float32; two or three roundings of 2^-24 a product, and kernels of at
# most 6 x 25 terms that cancel to a tenth: 1e-4 of the largest value is far above, and what the method is held to.
EXACT = 1e-4


def full_low_rank(kernel: np.ndarray) -> Factors:
    matrix = kernel.reshape(len(kernel), -1).T
    left, right = plain(matrix).cut(min(matrix.shape))
    ones = (1,) * (kernel.ndim - 2)
    first = Factor(left.T.reshape(left.shape[1], *kernel.shape[1:]), tuple(range(len(ones))))
    return first, Factor(right.T.reshape(*right.T.shape, *ones))


FULL: dict[str, Callable[[np.ndarray], Factors]] = {
    "low rank": full_low_rank,
    "tucker": lambda kernel: tucker(kernel, (kernel.shape[1], kernel.shape[0])),
    "cp": lambda kernel: cp(kernel, math.prod(kernel.shape) // max(kernel.shape)),
    "spatial": lambda kernel: spatial(kernel, spectrum(kernel), len(spectrum(kernel).values)),
    "separable": lambda kernel: separable(kernel, min(len(kernel), math.prod(kernel.shape[2:]))),
}


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[ir.Model, str]:
    """A convolution with any stride, dilation, pads, kernel and bias, and the name of a form."""
    size = st.integers(1, 3)
    kernel, strides, dilations = ([draw(size), draw(size)] for _ in range(3))
    auto = draw(st.sampled_from(["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    pads = [draw(st.integers(0, 2)) for _ in range(4)]
    padding = f"pads={pads}" if auto == "NOTSET" else f'auto_pad="{auto}"'
    dilations = dilations if auto == "NOTSET" else [1, 1]  # ONNX Runtime takes no other with auto_pad
    channels, width = draw(st.integers(4, 6)), draw(st.integers(4, 6))
    bias = draw(st.booleans())
    seed = draw(st.integers(0, 99))
    text = (
        f"g (float[N,{channels},9,8] x) => (float[N,{width},H,W] y) {{ y = Conv<strides={strides}, "
        f"dilations={dilations}, {padding}>(x, w{', b' if bias else ''}) }}"
    )
    weights = {"w": zoo.normal(width, channels, *kernel, seed=seed)} | ({"b": zoo.normal(width)} if bias else {})
    return zoo.model(text, **weights), draw(st.sampled_from(sorted(FULL)))


def replaced(model: ir.Model, make: Callable[[np.ndarray], Factors]) -> tuple[ir.Model, Factors]:
    after = model.clone()
    node = next(node for node in after.graph if node.op_type in ("Conv", "Gemm", "MatMul"))
    layer = Layer.of(node)
    assert isinstance(layer, Layer)
    factors = make(layer.kernel)
    replace(after, node, factors)
    assert checks(after) is None
    return after, factors


def assert_close(model: ir.Model, after: ir.Model, tolerance: float = EXACT) -> None:
    inputs = feed(model)
    for name, expected in outputs(model, inputs).items():
        found = outputs(after, inputs)[name]
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


@given(convolutions())
@settings(max_examples=60)
def test_full_ranks_reproduce_any_convolution(drawn: tuple[ir.Model, str]) -> None:
    model, form = drawn
    after, factors = replaced(model, FULL[form])
    assert_close(model, after)
    bias = len(factors[-1].weight) if "b" in model.graph.initializers else 0
    assert cost.parameters(after) == parameters(factors) + bias


@pytest.mark.parametrize("form", sorted(FULL))
def test_parameters_and_multiplications_are_those_of_the_graph(form: str) -> None:
    model = zoo.model(
        "g (float[2,5,9,8] x) => (float[2,6,H,W] y) { y = Conv<strides=[2,1], pads=[0,1,2,0]>(x, w) }",
        w=zoo.normal(6, 5, 3, 2),
    )
    after, factors = replaced(model, FULL[form])
    height, width = outputs(model, feed(model))["y"].shape[2:]
    assert cost.parameters(after) == parameters(factors)
    assert cost.macs(after, {}) == 2 * macs(factors, (9, 8), (height, width))


def test_products_keep_their_bias_and_names() -> None:
    model = zoo.model(
        "g (float[N,3,7] x, float[N,6] z) => (float[N,3,6] y, float[N,5] u) "
        "{ y = MatMul(x, w) u = Gemm<transB=1>(z, v, c) }",
        w=zoo.normal(7, 6),
        v=zoo.normal(5, 6),
        c=zoo.normal(5),
    )
    after = model.clone()
    for node in list(after.graph):
        layer = Layer.of(node)
        assert isinstance(layer, Layer)
        replace(after, node, full_low_rank(layer.kernel), np.full(5, 0.25) if node.op_type == "Gemm" else None)
    inputs = feed(model)
    before, found = outputs(model, inputs), outputs(after, inputs)
    np.testing.assert_allclose(found["y"], before["y"], atol=EXACT)
    np.testing.assert_allclose(found["u"], before["u"] + 0.25, atol=EXACT)
    assert [node.op_type for node in after.graph] == ["MatMul", "MatMul", "Gemm", "Gemm"]


@given(st.integers(0, 999), st.integers(1, 5))
@settings(max_examples=20)
def test_the_whitened_cut_is_nearest_in_the_output(seed: int, rank: int) -> None:
    rng = np.random.default_rng(seed)
    x, w = rng.standard_normal((40, 7)) * rng.uniform(0.1, 5, 7), rng.standard_normal((7, 6))

    def wrong(left: np.ndarray, right: np.ndarray) -> float:
        return float(((x @ (w - left @ right)) ** 2).sum())

    found = wrong(*whitened(w, x.T @ x).cut(rank))
    # Eckart and Young: what is left of X W at best. The damping of 1e-6 moves it by as much of the whole.
    least = float((np.linalg.svd(x @ w, compute_uv=False)[rank:] ** 2).sum())
    assert found <= least + 1e-4 * float(((x @ w) ** 2).sum())
    assert found <= wrong(*plain(w).cut(rank)) * (1 + 1e-5)
    left, right = whitened(w, np.eye(7)).cut(rank)
    twin_left, twin_right = plain(w).cut(rank)
    np.testing.assert_allclose(left @ right, twin_left @ twin_right, atol=1e-5)


@pytest.mark.parametrize("form", sorted(FULL))
def test_the_last_factor_multiplies_the_features_of_the_others(form: str) -> None:
    kernel = zoo.normal(6, 5, 3, 2).astype(np.float64)
    factors = FULL[form](kernel)
    into = features(factors, (3, 2))
    last = factors[-1].weight.reshape(6, -1).T
    np.testing.assert_allclose(into @ last, kernel.reshape(6, -1).T, atol=1e-5)  # as exact as CP is
    doubled = composed(with_last(factors, 2 * last))
    np.testing.assert_allclose(doubled, 2 * kernel, atol=2e-5)


def test_kernels_of_a_form_are_found_at_its_rank() -> None:
    rng = np.random.default_rng(0)
    line = np.einsum("mr,cr,kr,lr->mckl", *(rng.standard_normal((n, 2)) for n in (6, 5, 3, 3)))
    for factors in (cp(line, 2), tucker(line, (2, 2)), spatial(line, spectrum(line), 2), separable(line, 2)):
        # CP ends where a sweep gains little; the others are exact.
        np.testing.assert_allclose(composed(factors), line, atol=0.05)


def test_candidates_have_the_shapes_they_announce_and_fewer_parameters() -> None:
    model = zoo.model("g (float[N,16,9,9] x) => (float[N,24,H,W] y) { y = Conv(x, w) }", w=zoo.normal(24, 16, 3, 3))
    layer = Layer.of(next(iter(model.graph)))
    assert isinstance(layer, Layer)
    found = list(candidates(layer, METHODS, np.eye(144)))
    assert {each.method for each in found} == set(METHODS)
    for each in found:
        made = each.make()
        assert [factor.weight.shape for factor in made] == [factor.weight.shape for factor in each.hollow]
        assert [(factor.slides, factor.groups) for factor in made] == [(f.slides, f.groups) for f in each.hollow]
        assert parameters(made) < layer.kernel.size


@pytest.mark.parametrize(
    ("text", "weight", "said"),
    [
        ("y = Conv<group=2>(x, w)", zoo.normal(8, 4, 1, 1), "it convolves in groups"),
        ("y = Conv(x, w) z = Conv(x, w)", zoo.normal(8, 8, 1, 1), "its weight 'w' is read 2 times"),
        ("y = Conv(x, w)", zoo.normal(3, 8, 1, 1), "8 to 3 channels are too few"),
        ("f = Flatten(x) y = Gemm<alpha=2.0>(f, w)", zoo.normal(72, 8), "it scales by alpha or beta"),
        ("y = MatMul(x, w)", zoo.normal(8, 3, 5), "its weight 'w' has 3 axes"),
    ],
)
def test_a_layer_that_stays_says_why(text: str, weight: np.ndarray, said: str) -> None:
    model = zoo.model(f"g (float[N,8,3,3] x) => (float y) {{ {text} }}", w=weight)
    found = [Layer.of(node) for node in model.graph]
    assert said in found
