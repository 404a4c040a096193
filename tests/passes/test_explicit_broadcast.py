"""Broadcasts the standard allows and the CPU kernels refuse are written out; the oracle is numpy."""

from __future__ import annotations

import numpy as np
import pytest

from deploycompress.errors import ModelRejectedError
from deploycompress.passes.explicit_broadcast import ExplicitBroadcast
from tests import zoo
from tests.passes.running import outputs


def attention(query: np.ndarray, key: np.ndarray, value: np.ndarray, mask: np.ndarray) -> np.ndarray:
    scores = query.astype(np.float64) @ key.swapaxes(-1, -2) / np.sqrt(query.shape[-1]) + mask
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True) @ value


@pytest.mark.parametrize(("mask", "shape"), [("B,1,1,S", (3, 1, 1, 5)), ("1,S", (1, 5)), ("1,2,1,S", (1, 2, 1, 5))])
def test_mask_of_one_row_serves_every_query(mask: str, shape: tuple[int, ...]) -> None:
    model = zoo.model(
        f"g (float[B,2,S,4] q, float[B,2,S,4] k, float[B,2,S,4] v, float[{mask}] m) => (float[B,2,S,4] y) {{"
        " y = Attention(q, k, v, m) }",
        ir_version=10,
        opset=23,
    )
    feeds = {name: zoo.normal(3, 2, 5, 4, seed=n) for n, name in enumerate("qkv")} | {"m": zoo.normal(*shape)}
    with pytest.raises(ModelRejectedError, match="running Attention node"):
        outputs(model, feeds)
    result = ExplicitBroadcast()(model)
    assert len(result.changes) == 1
    expected = attention(feeds["q"], feeds["k"], feeds["v"], feeds["m"])
    # five products of four terms in float32: about ten roundings of 6e-8 on values of about 1
    np.testing.assert_allclose(outputs(result.model, feeds)["y"], expected, rtol=0, atol=2e-6)
    assert ExplicitBroadcast()(result.model).changes == ()


def test_caches_of_a_rotary_embedding_serve_the_whole_batch() -> None:
    model = zoo.model(
        "g (float[B,2,S,4] x, float[1,S,2] cos, float[1,S,2] sin) => (float[B,2,S,4] y) {"
        " y = RotaryEmbedding(x, cos, sin) }",
        ir_version=10,
        opset=23,
    )
    feeds = {"x": zoo.normal(3, 2, 5, 4), "cos": zoo.normal(1, 5, 2), "sin": zoo.normal(1, 5, 2, seed=1)}
    with pytest.raises(ModelRejectedError, match="running RotaryEmbedding node"):
        outputs(model, feeds)
    left, right = feeds["x"][..., :2], feeds["x"][..., 2:]
    expected = np.concatenate(
        [feeds["cos"] * left - feeds["sin"] * right, feeds["sin"] * left + feeds["cos"] * right], -1
    )
    got = outputs(ExplicitBroadcast()(model).model, feeds)["y"]
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6)  # two products and a sum of values of about 1


@pytest.mark.parametrize("mask", ["B,1,S,S", "S,S", "B,1,L,S"])
def test_mask_that_is_not_known_to_have_one_row_is_left_alone(mask: str) -> None:
    model = zoo.model(
        f"g (float[B,2,S,4] q, float[B,2,S,4] k, float[B,2,S,4] v, float[{mask}] m) => (float[B,2,S,4] y) {{"
        " y = Attention(q, k, v, m) }",
        ir_version=10,
        opset=23,
    )
    assert ExplicitBroadcast()(model).model is model
