"""Collected statistics against every activation kept and reduced at the end; memory that does not grow."""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploycompress import model as models
from deploycompress.calibration import LayerInput, Statistics, collect
from deploycompress.errors import DataRejectedError, ModelRejectedError, UnknownNameError
from deploycompress.runtime.session import Session, SessionConfig
from tests.zoo import model, normal

CONFIG = SessionConfig(threads=1)


def net():  # noqa: ANN201 - onnx_ir.Model
    return model(
        "g (float[N,8] x) => (float[N,4] y) { h = MatMul(x, w0) r = Relu(h) y = MatMul(r, w1) }",
        w0=normal(8, 16),
        w1=normal(16, 4),
    )


def test_statistics_equal_those_of_all_activations_at_once() -> None:
    feeds = [{"x": normal(1 + seed % 3, 8, seed=seed)} for seed in range(20)]
    found = collect(net(), ("x", "r", "y"), feeds, config=CONFIG)
    x = np.concatenate([feed["x"].ravel() for feed in feeds])
    hidden = [np.maximum(feed["x"].astype(np.float64) @ normal(8, 16).astype(np.float64), 0) for feed in feeds]
    r = np.concatenate([h.ravel() for h in hidden])
    assert found.samples == 20
    assert (found["x"].low, found["x"].high, found["x"].count) == (x.min(), x.max(), x.size)
    # float32 products of 8 terms against float64: a few units in the last place.
    np.testing.assert_allclose([found["r"].low, found["r"].high], [r.min(), r.max()], rtol=1e-5)
    assert found["r"].histogram.counts.sum() == found["r"].count == r.size


def test_shapes_may_differ_from_sample_to_sample() -> None:
    convolution = model("g (float[1,3,H,W] x) => (float[1,4,M,K] y) { y = Conv(x, w) }", w=normal(4, 3, 3, 3))
    feeds = [{"x": normal(1, 3, side, side + 1)} for side in (4, 7, 12)]
    assert collect(convolution, ("y",), feeds, config=CONFIG)["y"].count == sum(
        4 * (side - 2) * (side - 1) for side in (4, 7, 12)
    )


def test_the_model_given_keeps_its_outputs() -> None:
    given = net()
    before = models.serialize(given)
    collect(given, ("r",), [{"x": normal(1, 8)}], config=CONFIG)
    assert models.serialize(given) == before
    assert Session(before, CONFIG).signature.output_names == ("y",)


def test_an_unknown_tensor_is_named_with_its_neighbours() -> None:
    with pytest.raises(UnknownNameError, match="unknown tensor 'rr'; did you mean r"):
        collect(net(), ("rr",), [{"x": normal(1, 8)}], config=CONFIG)


def test_an_empty_set_is_refused() -> None:
    with pytest.raises(DataRejectedError, match="the calibration set is empty"):
        collect(net(), ("r",), [], config=CONFIG)


GROWTH = """
import resource, sys
import numpy as np
from deploycompress.calibration import collect
from deploycompress.runtime.session import SessionConfig
from tests.zoo import model, normal
net = model("g (float[1,3,96,96] x) => (float[1,32,94,94] y) { y = Conv(x, w) }", w=normal(32, 3, 3, 3))
def feeds(count):
    for seed in range(count):
        yield {"x": np.random.default_rng(seed).standard_normal((1, 3, 96, 96), np.float32)}
collect(net, ("x", "y"), feeds(8), config=SessionConfig(threads=1))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
collect(net, ("x", "y"), feeds(256), config=SessionConfig(threads=1))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_peak_memory_does_not_grow_with_the_number_of_samples() -> None:
    done = subprocess.run([sys.executable, "-c", GROWTH], capture_output=True, text=True, check=True)
    # Keeping the activations of the 248 further samples would take 281 MB; allocator noise is a few MB.
    assert int(done.stdout) < 40_000


def test_collection_ends_when_the_ranges_are_said_to_have_settled() -> None:
    seen = []

    def settled(before: Statistics, after: Statistics) -> bool:
        seen.append((before.samples, after.samples, before["r"].count, after["r"].count))
        return after.samples >= 32

    feeds = [{"x": normal(1, 8, seed=seed)} for seed in range(70)]
    found = collect(net(), ("r",), feeds, config=CONFIG, settled=settled)
    assert seen == [(8, 16, 8 * 16, 16 * 16), (16, 32, 16 * 16, 32 * 16)]
    assert found.samples == 32
    assert found["r"].count == 32 * 16


def test_collection_goes_through_all_samples_when_they_never_settle() -> None:
    feeds = [{"x": normal(1, 8, seed=seed)} for seed in range(70)]
    found = collect(net(), ("r",), feeds, config=CONFIG, settled=lambda before, after: False)
    assert found.samples == 70
    assert found["r"].count == 70 * 16


def test_a_kernel_that_fails_on_a_later_sample_is_reported() -> None:
    feeds = [{"x": normal(1, 8)}, {"x": normal(1, 9)}]
    with pytest.raises(ModelRejectedError, match=r"ONNX Runtime cannot run it: .*; deploycompress doctor --calib"):
        collect(net(), ("r",), feeds, config=CONFIG)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_any_batching_of_the_samples_gives_the_same_statistics(sizes: list[int]) -> None:
    x = normal(sum(sizes), 8, seed=5)
    layer = LayerInput("r", 16)
    cuts = np.cumsum([0, *sizes])
    batches = [{"x": x[start:stop]} for start, stop in itertools.pairwise(cuts)]
    found = collect(net(), ("x", "r"), batches, channel_axes={"r": -1}, grams=[layer], config=CONFIG)
    rows = [{"x": row[None]} for row in x]
    single = collect(net(), ("x", "r"), rows, channel_axes={"r": -1}, grams=[layer], config=CONFIG)
    np.testing.assert_array_equal(found["x"].histogram.counts, single["x"].histogram.counts)
    assert (found["x"].low, found["x"].high) == (single["x"].low, single["x"].high)
    # The product that makes r rounds differently for one row and for several.
    np.testing.assert_allclose(found["r"].high, single["r"].high, rtol=1e-6)
    np.testing.assert_allclose(found.grams[layer].products, single.grams[layer].products, rtol=1e-5)
