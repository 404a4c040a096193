"""The few numbers kept of a sample are those of float64 numpy, and its hash tells feeds apart and nothing else."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from deploycompress.data.summary import digest, summarize


@given(hnp.arrays(np.float32, hnp.array_shapes(max_dims=3, max_side=5), elements=st.floats(-1e6, 1e6, width=32)))
def test_figures_are_those_of_the_array(array: np.ndarray) -> None:
    figures = summarize({"x": array}, None, "a").inputs["x"]
    exact = array.astype(np.float64)
    assert (figures.size, figures.low, figures.high) == (array.size, exact.min(), exact.max())
    np.testing.assert_allclose((figures.mean, figures.std), (exact.mean(), exact.std()))


def test_hash_depends_on_name_type_shape_and_bytes_and_not_on_the_label() -> None:
    x = np.arange(6, dtype=np.float32)
    feeds = [{"x": x}, {"y": x}, {"x": x.view(np.int32)}, {"x": x.reshape(2, 3)}, {"x": x + 1}, {"x": [x]}]
    assert len({digest(feed) for feed in feeds}) == len(feeds)
    assert summarize({"x": x}, 1, "a").digest == summarize({"x": x.copy()}, 2, "b").digest


def test_label_that_is_an_array_goes_into_the_hash_and_is_not_kept() -> None:
    x = np.arange(6, dtype=np.float32)
    first, second = (summarize({"x": x}, np.full(3, value), "a") for value in (1, 2))
    assert first.label is None
    assert len({first.digest, second.digest, summarize({"x": x}, 1, "a").digest}) == 3


def test_sample_is_constant_only_where_every_wide_input_is() -> None:
    flat, wide, one = np.zeros(4, np.float32), np.arange(4.0), np.ones(1)
    assert summarize({"x": flat, "sr": one}, None, "a").is_constant
    assert not summarize({"x": wide, "mask": flat}, None, "a").is_constant
    assert not summarize({"sr": one}, None, "a").is_constant


def test_text_and_lists_have_a_hash_and_no_figures() -> None:
    words = np.array(["a", "b"], object)
    summary = summarize({"t": words, "l": [np.zeros(2)]}, None, "a")
    assert summary.inputs == {}
    assert summary.digest != summarize({"t": words[::-1], "l": [np.zeros(2)]}, None, "a").digest
