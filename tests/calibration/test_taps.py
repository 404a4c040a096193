"""Tensors brought out of control-flow bodies against what the body computes, by hand in numpy."""

from __future__ import annotations

import numpy as np
import pytest

from deploycompress import model as models
from deploycompress.calibration import collect
from deploycompress.calibration.taps import tap
from deploycompress.errors import UnknownNameError
from deploycompress.runtime.session import Session, SessionConfig
from tests.zoo import model, normal

CONFIG = SessionConfig(threads=1)

BRANCHES = """
    g (bool c, float[2,3] x) => (float[2,3] y) {
        y = If (c) <
            then_branch = a () => (float[2,3] p) { doubled = Add(x, x)  p = Relu(doubled) },
            else_branch = b () => (float[2,3] q) { negated = Neg(x)  q = Exp(negated) }
        >
    }"""

LOOP = """
    g (int64 n, float[2,3] x) => (float[2,3] y) {
        y = Loop (n, , x) <
            body = b (int64 i, bool go, float[2,3] state) => (bool still, float[2,3] next) {
                still = Identity(go)  grown = Add(state, state)  next = Relu(grown)
            }
        >
    }"""

SCAN = """
    g (float[2] start, float[T,2] x) => (float[2] last, float[T,2] all) {
        last, all = Scan <num_scan_inputs = 1,
            body = b (float[2] state, float[2] item) => (float[2] next, float[2] out) {
                next = Add(state, item)  half = Mul(next, h)  out = Relu(half)
            }
        > (start, x)
    }"""

GROWING = """
    g (int64 n, float[1,3] x) => (float[A,3] y) {
        y = Loop (n, , x) <
            body = b (int64 i, bool go, float[A,3] state) => (bool still, float[B,3] next) {
                still = Identity(go)  next = Concat <axis = 0> (state, state)
            }
        >
        z = Relu(y)
    }"""

NESTED = """
    g (bool c, int64 n, float[2,3] x) => (float[2,3] y) {
        y = If (c) <
            then_branch = a () => (float[2,3] p) {
                p = Loop (n, , x) <
                    body = b (int64 i, bool go, float[2,3] state) => (bool still, float[2,3] next) {
                        still = Identity(go)  next = Add(state, state)
                    }
                >
            },
            else_branch = d () => (float[2,3] q) { q = Neg(x) }
        >
    }"""


def values(text: str, names: list[str], feed: dict[str, np.ndarray], **weights: np.ndarray) -> dict[str, np.ndarray]:
    tapped, taps = tap(model(text, **weights), names)
    outputs = Session(models.serialize(tapped), CONFIG).run(feed)
    return {name: taps[name].values(outputs[taps[name].output]) for name in names}


@pytest.mark.parametrize("taken", [True, False])
def test_a_branch_gives_its_tensor_when_taken_and_nothing_else(taken: bool) -> None:
    x = normal(2, 3)
    found = values(BRANCHES, ["doubled", "negated"], {"c": np.array(taken), "x": x})
    np.testing.assert_array_equal(found["doubled"], 2 * x if taken else np.zeros(0))
    np.testing.assert_array_equal(found["negated"], np.zeros(0) if taken else -x)


def test_every_turn_of_a_loop_is_given() -> None:
    x = normal(2, 3)
    found = values(LOOP, ["grown"], {"n": np.array(3), "x": x})["grown"]
    state, turns = x, []
    for _ in range(3):
        turns.append(state + state)
        state = np.maximum(turns[-1], 0)
    np.testing.assert_array_equal(found, np.concatenate(turns))


def test_every_turn_of_a_scan_is_given() -> None:
    x = normal(4, 2)
    found = values(SCAN, ["half"], {"start": np.zeros(2, np.float32), "x": x}, h=np.array([0.5], np.float32))["half"]
    np.testing.assert_allclose(found.ravel(), 0.5 * np.cumsum(x, axis=0).ravel(), rtol=1e-6)


@pytest.mark.parametrize("taken", [True, False])
def test_a_loop_in_a_branch_is_reached(taken: bool) -> None:
    x = normal(2, 3)
    found = values(NESTED, ["next"], {"c": np.array(taken), "n": np.array(2), "x": x})["next"]
    np.testing.assert_array_equal(found, np.concatenate([2 * x, 4 * x]) if taken else np.zeros(0))


def test_statistics_of_both_branches_come_from_the_samples_that_take_them() -> None:
    feeds = [{"c": np.array(seed % 2 == 0), "x": normal(2, 3, seed=seed)} for seed in range(6)]
    found = collect(model(BRANCHES), ["doubled", "negated", "y"], feeds, config=CONFIG)
    assert found["doubled"].count == found["negated"].count == 18
    assert found["y"].count == 36
    assert found["doubled"].high == max(float(2 * feed["x"].max()) for feed in feeds[::2])


def test_turns_that_differ_in_shape_are_reported_and_the_rest_is_collected() -> None:
    feeds = [{"n": np.array(n), "x": normal(1, 3, seed=n)} for n in (1, 3, 2)]
    found = collect(model(GROWING), ["next", "y"], feeds, config=CONFIG)
    assert list(found.tensors) == ["y"]
    assert found["y"].count == 3 * (2 + 8 + 4)
    assert found.left["next"].startswith("it cannot be stacked over the turns of its loop")


def test_the_model_given_is_not_changed() -> None:
    given = model(NESTED)
    before = models.serialize(given)
    tap(given, ["next"])
    assert models.serialize(given) == before


def test_a_name_found_nowhere_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="unknown tensor 'grow'; did you mean grown"):
        tap(model(LOOP), ["grow"])
