"""A part of the samples is made of whole feeds, and knows which data it belongs to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deploycompress import data
from deploycompress.records.signature import Signature

Takes = Callable[..., Signature]


@pytest.mark.parametrize("batch", [1, 2])
def test_picked_feeds_are_those_of_the_whole_in_its_order(tmp_path: Path, takes: Takes, batch: int) -> None:
    np.save(tmp_path / "x.npy", np.arange(14, dtype=np.float32).reshape(7, 2))
    samples = data.open(str(tmp_path / "x.npy"), takes(x=("float32", "n" if batch == 1 else batch, 2)))
    part = samples.picked([2, 0])
    whole = [sample.feed["x"] for sample in samples]
    assert (len(part), part.examples) == (2, 2 * batch)
    assert part.fingerprint == samples.fingerprint
    np.testing.assert_array_equal([sample.feed["x"] for sample in part], [whole[0], whole[2]])
