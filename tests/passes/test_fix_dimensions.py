"""Symbols become lengths."""

from __future__ import annotations

from deploycompress.passes.fix_dimensions import FixDimensions, symbols
from tests import zoo
from tests.passes.running import assert_same_outputs


def test_symbol_is_fixed_at_inputs_and_outputs() -> None:
    before = zoo.matmul_add()
    after = FixDimensions((("N", 3),))(before).model
    assert list(after.graph.inputs[0].shape) == [3, 4]
    assert list(after.graph.outputs[0].shape) == [3, 3]
    assert_same_outputs(before, after, free=3)


def test_symbols_lists_what_can_be_fixed() -> None:
    assert symbols(zoo.matmul_add()) == ("N",)
    assert symbols(zoo.conv_affine()) == ()
