"""Statistics of padded samples against the same samples without padding."""

from __future__ import annotations

import numpy as np
import pytest

from deploycompress.calibration import LayerInput, collect
from deploycompress.calibration.padding import mask_of
from deploycompress.runtime.session import SessionConfig
from tests.zoo import model, normal

CONFIG = SessionConfig(threads=1)
HIDDEN = 4

# Embedding, a merged [batch * tokens, hidden] product, and a head split with tokens on axis 2.
ENCODER = """
    g (int64[B,S] input_ids, int64[B,S] attention_mask) => (float[B,S,4] y) {
        e = Gather(table, input_ids)
        flat = Reshape(e, two)
        p = MatMul(flat, w)
        count = Shape <start = 1> (input_ids)
        places = Slice(table, zero, count, zero)
        lifted = Unsqueeze(places, zero)
        moved = Add(e, lifted)
        shape = Shape(e)
        back = Reshape(p, shape)
        split = Reshape(back, heads)
        turned = Transpose <perm = [0, 2, 1, 3]> (split)
        m = Cast <to = 1> (attention_mask)
        wide = Unsqueeze(m, last)
        y = Mul(back, wide)
    }"""
WEIGHTS = {
    "w": normal(HIDDEN, HIDDEN, seed=3),
    "two": np.array([-1, HIDDEN]),
    "heads": np.array([0, 0, 2, 2]),
    "last": np.array([-1]),
    "zero": np.array([0]),
}
TENSORS = ["e", "p", "turned"]


def encoder(pad_value: float = 100.0, text: str = ENCODER):  # noqa: ANN201 - onnx_ir.Model
    table = normal(10, HIDDEN, seed=2)
    table[0] = pad_value  # token 0 is padding, and far out
    return model(text, table=table, **WEIGHTS)


def feed(lengths: list[int], total: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(sum(lengths))
    mask = (np.arange(total) < np.array(lengths)[:, None]).astype(np.int64)
    return {"input_ids": np.where(mask == 1, rng.integers(1, 10, mask.shape), 0), "attention_mask": mask}


def unpadded(padded: dict[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    """One feed a row, cut to its length."""
    rows = zip(padded["input_ids"], padded["attention_mask"], strict=True)
    return [{"input_ids": ids[None, : mask.sum()], "attention_mask": mask[None, : mask.sum()]} for ids, mask in rows]


@pytest.mark.parametrize("lengths", [[3], [5, 2], [4, 6, 1]])
def test_padded_batches_count_as_their_sentences_alone(lengths: list[int]) -> None:
    padded = feed(lengths, 6)
    layer = LayerInput("e", HIDDEN)
    found = collect(encoder(), TENSORS, [padded], channel_axes={"e": -1}, grams=[layer], config=CONFIG)
    alone = collect(encoder(), TENSORS, unpadded(padded), channel_axes={"e": -1}, grams=[layer], config=CONFIG)
    for name in TENSORS:
        assert found[name].count == alone[name].count == sum(lengths) * HIDDEN
        # One row at a time or all at once: another order of four products.
        np.testing.assert_allclose([found[name].low, found[name].high], [alone[name].low, alone[name].high], rtol=1e-6)
    np.testing.assert_array_equal(found["e"].channel_absmax, alone["e"].channel_absmax)
    np.testing.assert_allclose(found.grams[layer].products, alone.grams[layer].products, rtol=1e-12)


def test_what_the_batch_shares_is_kept_whole() -> None:
    found = collect(encoder(), ["places", "lifted"], [feed([5, 2], 6)], config=CONFIG)
    assert found["places"].count == found["lifted"].count == 6 * HIDDEN


def test_heads_as_many_as_tokens_are_not_taken_for_them() -> None:
    found = collect(encoder(), ["turned"], [feed([1], 2)], config=CONFIG)
    assert found["turned"].count == HIDDEN
    assert found["turned"].high < 50  # the padded token has values around 100


def test_a_graph_input_by_token_is_cut_too() -> None:
    text = """g (float[B,S,4] embeds, int64[B,S] attention_mask) => (float[B,S,4] y) {
        p = MatMul(embeds, w)
        m = Cast <to = 1> (attention_mask)
        wide = Unsqueeze(m, last)
        y = Mul(p, wide)
    }"""
    embeds = normal(1, 5, HIDDEN)
    embeds[0, 3:] = 100.0
    mask = np.array([[1, 1, 1, 0, 0]])
    feeds = [{"embeds": embeds, "attention_mask": mask}]
    found = collect(model(text, w=WEIGHTS["w"], last=WEIGHTS["last"]), ["embeds", "p"], feeds, config=CONFIG)
    assert found["embeds"].count == found["p"].count == 3 * HIDDEN
    assert found["embeds"].high < 50


def test_a_width_equal_to_the_number_of_tokens_is_not_taken_for_it() -> None:
    padded = feed([3], HIDDEN)
    found = collect(encoder(), TENSORS, [padded], config=CONFIG)
    assert {name: found[name].count for name in TENSORS} == dict.fromkeys(TENSORS, 3 * HIDDEN)


@pytest.mark.parametrize("length", [6, HIDDEN])
def test_a_model_of_fixed_length_leaves_its_padding_out_too(length: int) -> None:
    fixed = ENCODER.replace("int64[B,S]", f"int64[1,{length}]").replace("float[B,S,4]", f"float[1,{length},4]")
    found = collect(encoder(text=fixed), TENSORS, [feed([2], length)], config=CONFIG)
    assert {name: found[name].count for name in TENSORS} == dict.fromkeys(TENSORS, 2 * HIDDEN)
    assert found["e"].high < 100


def test_samples_without_padding_pass_whole_before_and_after_one_with() -> None:
    feeds = [feed([4], 4), feed([2], 5), feed([3], 3)]
    found = collect(encoder(), TENSORS, feeds, config=CONFIG)
    assert found["p"].count == (4 + 2 + 3) * HIDDEN


@pytest.mark.parametrize(
    "mask",
    [np.ones((1, 3), np.int64), np.zeros((1, 3), np.int64), np.array([[2, 0, 1]]), np.ones((1, 1, 3), np.int64)],
    ids=["full", "empty", "not a mask", "of rank 3"],
)
def test_what_is_no_padding_mask_changes_nothing(mask: np.ndarray) -> None:
    assert mask_of({"attention_mask": mask}) is None
