from __future__ import annotations

import numpy as np
import pytest

from deploycompress import data
from deploycompress.errors import UnknownNameError, UnsupportedError, UsageError
from deploycompress.flow.sweep import Cell, Lengths, cells, feeds
from deploycompress.records.signature import Signature, TensorSpec

TOKENS = Signature(
    (TensorSpec("ids", "int64", ("batch", "seq_len")), TensorSpec("mask", "int64", ("batch", "seq_len"))), ()
)
TWO_AXES = Signature((TensorSpec("x", "float32", ("batch", "height", "width")),), ())
FIXED = Signature((TensorSpec("x", "float32", ("batch", 7)),), ())


def test_cells_are_every_combination_and_the_first_of_each_comes_first() -> None:
    found = cells((1, 8), Lengths((16, 32)), (1, 2))
    assert found[0] == Cell(1, 16, 1)
    assert len(set(found)) == 8
    assert cells((4,), None, (2,)) == (Cell(4, None, 2),)


@pytest.mark.parametrize("length", [3, 8, 20])
def test_feeds_have_the_length_and_repeat_the_values(length: int) -> None:
    samples = data.open("random:8", TOKENS)
    (first, *_), batch = feeds(samples, TOKENS, Cell(2, length, 1), Lengths((length,)))
    (whole, *_), _ = feeds(samples, TOKENS, Cell(2, None, 1), None)
    assert batch == 2
    assert first["mask"].shape == (2, length)
    expected = np.concatenate([whole["ids"]] * 3, axis=1)[:, :length]
    np.testing.assert_array_equal(first["ids"], expected)


def test_axis_must_be_named_where_several_are_free() -> None:
    samples = data.open("random:4", TWO_AXES)
    with pytest.raises(UsageError, match=r"several axes of the inputs are free: height, width.*--seq height=8,128"):
        feeds(samples, TWO_AXES, Cell(1, 5, 1), Lengths((5,)))
    (first, *_), _ = feeds(samples, TWO_AXES, Cell(1, 5, 1), Lengths((5,), "width"))
    assert first["x"].shape == (1, 8, 5)
    with pytest.raises(UnknownNameError, match="unknown free axis 'widht'; did you mean width"):
        feeds(samples, TWO_AXES, Cell(1, 5, 1), Lengths((5,), "widht"))


def test_length_without_a_free_axis_is_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"no named free axis beside the batch.*leave --seq out"):
        feeds(data.open("random:4", FIXED), FIXED, Cell(1, 5, 1), Lengths((5,)))
