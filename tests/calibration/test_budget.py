"""Several passes over the samples give what one pass gives, and finished matrices lie in files."""

from __future__ import annotations

import numpy as np
import pytest

from deploycompress.calibration import LayerInput, collect
from deploycompress.calibration.budget import gram_passes
from deploycompress.errors import UsageError
from deploycompress.runtime.session import SessionConfig
from tests.zoo import model, normal

LAYERS = [LayerInput("x", 8), LayerInput("r", 16), LayerInput("s", 4)]


def net():  # noqa: ANN201 - onnx_ir.Model
    return model(
        """g (float[N,8] x) => (float[N,3] y) {
            h = MatMul(x, w0) r = Relu(h) i = MatMul(r, w1) s = Relu(i) y = MatMul(s, w2)
        }""",
        w0=normal(8, 16),
        w1=normal(16, 4),
        w2=normal(4, 3),
    )


def test_layers_are_grouped_in_order_under_the_budget() -> None:
    assert gram_passes(LAYERS, None) == [LAYERS]
    assert gram_passes(LAYERS, 16 * 16 * 8) == [[LAYERS[0]], [LAYERS[1]], [LAYERS[2]]]
    assert gram_passes(LAYERS, (64 + 256) * 8) == [LAYERS[:2], LAYERS[2:]]
    assert gram_passes([], 1) == [[]]


def test_a_matrix_above_the_budget_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="the Gram matrix of 'r' takes 0 MiB, more than the budget of 0 MiB"):
        gram_passes(LAYERS, 16 * 16 * 8 - 1)


def test_every_pass_sees_the_samples_of_the_first() -> None:
    feeds = [{"x": normal(1, 8, seed=seed)} for seed in range(40)]
    config = SessionConfig(threads=1)
    found = collect(
        net(), ["r"], feeds, grams=LAYERS, config=config, memory_bytes=16 * 16 * 8, settled=lambda before, after: True
    )
    assert found.samples == 16
    assert [gram.count for gram in found.grams.values()] == [16, 16, 16]


def test_several_passes_give_what_one_gives_and_keep_products_in_files() -> None:
    feeds = [{"x": normal(3, 8, seed=seed)} for seed in range(5)]
    config = SessionConfig(threads=1)
    whole = collect(net(), ["r"], feeds, grams=LAYERS, config=config)
    split = collect(net(), ["r"], feeds, grams=LAYERS, config=config, memory_bytes=16 * 16 * 8)
    assert list(split.grams) == LAYERS
    for layer in LAYERS:
        np.testing.assert_array_equal(split.grams[layer].products, whole.grams[layer].products)
        np.testing.assert_array_equal(split.grams[layer].sums, whole.grams[layer].sums)
    assert isinstance(split.grams[LAYERS[0]].products, np.memmap)
    assert split.samples == whole.samples == 5
    assert split["r"].count == whole["r"].count
