"""Feeds that the model really runs, at two shapes where its shapes are free."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from deploycompress import model as models
from deploycompress.errors import ModelRejectedError
from deploycompress.flow.feeds import differential_feeds, shapes, stable, timing_feed
from deploycompress.runtime.session import Session, SessionConfig
from tests import zoo
from tests.passes.running import proto


def opened(model: ir.Model) -> tuple[Session, object]:
    return Session(proto(model), SessionConfig(threads=1)), models.signature(model)


def test_free_axes_are_tried_at_two_lengths() -> None:
    feeds = differential_feeds(*opened(zoo.matmul_add()), None)
    assert [feed["x"].shape for feed in feeds] == [(1, 4), (1, 4), (2, 4), (2, 4)]
    assert not np.array_equal(feeds[0]["x"], feeds[1]["x"])


def test_fixed_axes_are_tried_once() -> None:
    assert [feed["x"].shape for feed in differential_feeds(*opened(zoo.conv_affine()), None)] == [(1, 3, 6, 6)] * 2


def test_feeds_are_the_same_every_time() -> None:
    first, second = (differential_feeds(*opened(zoo.matmul_add()), None) for _ in range(2))
    assert all(np.array_equal(a["x"], b["x"]) for a, b in zip(first, second, strict=True))


def test_index_out_of_range_makes_the_integers_zero() -> None:
    model = zoo.model("g (int64[3] i) => (float[3,2] y) { y = Gather(table, i) }", table=zoo.normal(1, 2))
    assert all(not feed["i"].any() for feed in differential_feeds(*opened(model), None))


def test_shared_symbol_gets_one_length() -> None:
    model = zoo.model(
        "g (float[batch,T,4] x, float[1,batch,3] h) => (float[T,D,batch,3] y) {"
        " t = Transpose<perm=[1,0,2]>(x) y = GRU<hidden_size=3>(t, w, r, , , h) }",
        w=zoo.normal(1, 9, 4),
        r=zoo.normal(1, 9, 3),
    )
    feeds = differential_feeds(*opened(model), None)
    assert {(feed["x"].shape, feed["h"].shape) for feed in feeds} == {((1, 16, 4), (1, 1, 3)), ((2, 24, 4), (1, 2, 3))}


def test_batch_in_the_middle_of_an_unnamed_state_is_found() -> None:
    model = zoo.model(
        "g (float[?,?] x, float[1,?,4] h) => (float[?,?] y, float[?] z) {"
        " s = Squeeze(h, zero) y = Concat<axis=1>(x, s) z = Gather<axis=1>(x, last) }",
        zero=np.asarray([0], np.int64),
        last=np.asarray(15, np.int64),  # at least 16 columns
    )
    feeds = differential_feeds(*opened(model), None)
    assert {(feed["x"].shape, feed["h"].shape) for feed in feeds} == {((1, 16), (1, 1, 4)), ((2, 24), (1, 2, 4))}


def test_model_that_runs_on_nothing_is_rejected_with_its_reason_and_the_option_that_helps() -> None:
    model = zoo.model("g (float[4] x) => (float[3] y) { y = Reshape(x, three) }", three=np.asarray([3], np.int64))
    with pytest.raises(ModelRejectedError, match=r"it runs on none of random, .*Reshape.*; give inputs .* --data"):
        differential_feeds(*opened(model), None)


def test_input_that_random_cannot_make_is_named_with_the_option_that_helps() -> None:
    model = zoo.model("g (seq(float[4]) s) => (int64 n) { n = SequenceLength(s) }")
    with pytest.raises(ModelRejectedError, match=r"random data cannot be made for s.*--data"):
        differential_feeds(*opened(model), None)


def test_samples_are_taken_alone_and_in_a_batch(tmp_path: Path) -> None:
    for index in range(5):
        np.savez(tmp_path / f"{index}.npz", x=np.full((1, 4), index, np.float32))
    feeds = differential_feeds(*opened(zoo.matmul_add()), str(tmp_path))
    assert [feed["x"].shape for feed in feeds] == [(1, 4), (1, 4), (3, 4), (2, 4)]
    assert feeds[1]["x"][0, 0] == 1


def test_model_that_draws_random_numbers_is_rejected() -> None:
    session, _ = opened(zoo.model("g (float[4] x) => (float[4] y) { r = RandomNormalLike(x) y = Add(x, r) }"))
    with pytest.raises(ModelRejectedError, match="two runs on one input disagree"):
        stable(session, ({"x": zoo.normal(4)},))


def test_stable_returns_the_outputs_of_every_feed() -> None:
    session, _ = opened(zoo.model("g (float[4] x) => (float[4] y) { y = Neg(x) }"))
    (outputs,) = stable(session, ({"x": zoo.normal(4)},))
    np.testing.assert_array_equal(outputs["y"], -zoo.normal(4))


def test_sequence_given_as_data_is_one_feed_with_a_shape() -> None:
    assert shapes({"s": [np.zeros((2, 3)), np.zeros((4, 3))], "empty": [], "x": np.zeros(5)}) == {
        "s": (2, 2, 3),
        "empty": (0,),
        "x": (5,),
    }


def test_the_timed_feed_is_as_long_as_real_inputs_are() -> None:
    net = zoo.model("g (float[N,S,4] x) => (float[N,S,3] y) { y = MatMul(x, w) }", w=zoo.normal(4, 3))
    session, signature = opened(net)
    feeds = differential_feeds(session, signature, None)
    assert feeds[0]["x"].shape == (1, 16, 4)
    assert timing_feed(session, signature, feeds, None)["x"].shape == (1, 128, 4)
    assert timing_feed(session, signature, feeds, "data.npz") is feeds[0]


def test_the_timed_feed_is_a_short_one_where_the_model_takes_no_longer() -> None:
    net = zoo.model(
        "g (float[N,S] x) => (float[N,S] y) { p = Shape(x) q = Slice(table, zero, p, none) y = Add(x, q) }",
        table=zoo.normal(1, 20),
        zero=np.array([0, 0]),
        none=np.array([0, 1]),
    )
    session, signature = opened(net)
    feeds = differential_feeds(session, signature, None)
    assert timing_feed(session, signature, feeds, None) is feeds[0]


def test_the_timed_feed_of_a_model_with_a_free_batch_alone_is_the_first() -> None:
    session, signature = opened(zoo.conv_affine())
    feeds = differential_feeds(session, signature, None)
    assert timing_feed(session, signature, feeds, None) is feeds[0]
