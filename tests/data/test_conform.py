"""Arrays become feeds only where nothing is lost, and every change or refusal is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from deploycompress.data.conform import Conform, cast
from deploycompress.data.source import Raw, Unusable
from deploycompress.records.signature import Signature, TensorSpec

Takes = Callable[..., Signature]


def conform(signature: Signature, *, whole: bool = False, **arrays: Any) -> tuple[dict[str, Any], tuple[str, ...]]:  # noqa: ANN401
    return Conform.to(signature)(Raw(arrays, None, "a", whole=whole))


def test_sample_gets_a_batch_axis_and_nothing_else(takes: Takes) -> None:
    feed, notes = conform(takes(x=("float32", "n", 3)), x=np.arange(3, dtype=np.float32))
    np.testing.assert_array_equal(feed["x"], [[0, 1, 2]])
    assert notes == ()


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((3, 4), "f4"), r"input 'x' has shape \[3, 4\], the model takes \[3\]$"),
        (np.zeros(4, "f4"), r"input 'x' has shape \[4\], the model takes \[3\]$"),
        (np.array([0, np.nan, 0], "f4"), "input 'x' holds NaN"),
        (np.array([0, np.inf, 0], "f4"), "input 'x' holds Inf"),
        (np.array(["a", "b", "c"]), "takes float32, the data is str"),
        (np.zeros(3, np.complex64), "takes float32, the data is complex64"),
        (np.array([2**24 + 1, 0, 0]), "takes float32, the data is int64, and a value does not fit"),
        (np.array([1e300, 0, 0]), "takes float32, the data is float64, and a value overflows"),
    ],
)
def test_array_that_does_not_fit_is_refused_with_the_reason(takes: Takes, array: np.ndarray, reason: str) -> None:
    with pytest.raises(Unusable, match=reason):
        conform(takes(x=("float32", "n", 3)), x=array)


def test_fraction_is_not_fed_to_integers(takes: Takes) -> None:
    with pytest.raises(Unusable, match="takes int64, the data is float32"):
        conform(takes(x=("int64", "n", 3)), x=np.zeros(3, "f4"))


@pytest.mark.parametrize(
    ("dims", "shape", "hint"),
    [
        ((3, 8, 9), (8, 9, 3), r"channels last\? transpose\(2, 0, 1\) gives \[3, 8, 9\], which fits"),
        ((8, 9, 3), (3, 8, 9), r"channels first\? transpose\(1, 2, 0\) gives \[8, 9, 3\], which fits"),
        ((3, "h", "w"), (8, 9, 3), r"channels last\? transpose\(2, 0, 1\)"),
        ((5, 7), (7, 5), r"\[5, 7\] \(transpose\(1, 0\) gives"),
        ((3, 9, 8), (8, 9, 3), r"\(transpose\(2, 1, 0\) gives \[3, 9, 8\], which fits\)"),
        ((3, 8, 8), (4, 8, 8), r"the model takes \[3, 8, 8\]$"),
    ],
)
def test_transposition_that_would_fit_is_named(takes: Takes, dims: tuple, shape: tuple[int, ...], hint: str) -> None:
    with pytest.raises(Unusable, match=hint):
        conform(takes(x=("float32", "n", *dims)), x=np.zeros(shape, "f4"))


def test_a_batch_for_a_model_that_takes_one_sample_is_told_apart_from_a_wrong_shape(takes: Takes) -> None:
    one = Conform.to(takes(x=("float32", 1, 3)))
    with pytest.raises(Unusable, match=r"a batch of 4, and the batch of the model is fixed at 1: give the samples one"):
        one(Raw({"x": np.zeros((4, 3), "f4")}, None, "a", whole=True))


def test_position_of_a_value_that_is_not_finite_counts_within_the_sample(takes: Takes) -> None:
    broken = np.zeros((3, 8, 8), "f4")
    broken[1, 2, 3] = broken[2, 0, 0] = np.nan
    with pytest.raises(Unusable, match=r"input 'x' holds NaN \(2 of 192 values, first at \[1, 2, 3\]\)"):
        conform(takes(x=("float32", "n", 3, 8, 8)), x=broken)


def test_missing_input_is_named_with_its_nearest_spelling(takes: Takes) -> None:
    signature = takes(input_ids=("int64", "n", "s"), attention_mask=("int64", "n", "s"))
    with pytest.raises(Unusable, match="no array for input 'attention_mask'; is 'attention_masks' a misspelling"):
        conform(signature, input_ids=np.ones(4, int), attention_masks=np.ones(4, int))
    with pytest.raises(Unusable, match="no array for input 'attention_mask'; it holds 'input_ids'"):
        conform(signature, input_ids=np.ones(4, int))


def test_only_array_feeds_the_only_input_and_that_is_told(takes: Takes) -> None:
    feed, notes = conform(takes(x=("float32", "n", 2)), images=np.zeros(2, "f4"))
    assert list(feed) == ["x"]
    assert notes == ("array 'images' is fed to input 'x', the only one",)


def test_spare_array_is_left_out_and_that_is_told(takes: Takes) -> None:
    feed, notes = conform(takes(x=("float32", "n", 2)), x=np.zeros(2, "f4"), extra=np.zeros(9))
    assert list(feed) == ["x"]
    assert notes == ("array 'extra' is not an input and is left out",)


def test_axes_of_one_symbol_must_agree(takes: Takes) -> None:
    signature = takes(a=("int64", "n", "s"), b=("int64", "n", "s"))
    conform(signature, a=np.ones(4, int), b=np.ones(4, int))
    with pytest.raises(Unusable, match="'s' was 4 in another input"):
        conform(signature, a=np.ones(4, int), b=np.ones(5, int))


def test_complete_feed_must_have_the_whole_shape(takes: Takes) -> None:
    signature = takes(x=("float32", 2, 3))
    conform(signature, whole=True, x=np.zeros((2, 3), "f4"))
    with pytest.raises(Unusable, match=r"shape \[1, 3\], the model takes \[2, 3\]"):
        conform(signature, whole=True, x=np.zeros((1, 3), "f4"))


def test_strings_come_as_objects(takes: Takes) -> None:
    feed, _ = conform(takes(x=("str", "n", 2)), x=np.array(["a", "b"]))
    assert feed["x"].dtype == object
    with pytest.raises(Unusable, match="takes strings, the data is float64"):
        conform(takes(x=("str", "n", 2)), x=np.zeros(2))


INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"]


@given(st.data(), st.sampled_from(INTEGERS), st.sampled_from([*INTEGERS[:-1], "float32", "float64"]))
def test_integers_are_converted_only_where_every_value_stays(data: st.DataObject, source: str, target: str) -> None:
    array = data.draw(hnp.arrays(source, 3))
    exact = [int(value) for value in array]  # Python integers: no width, the oracle
    try:
        converted, note = cast(array, TensorSpec("x", target, (3,)))
    except Unusable:
        kept = [int(v) for v in array.astype(object).astype(target)] if target[0] == "f" else None
        limits = None if target[0] == "f" else np.iinfo(target)
        assert (kept != exact) if limits is None else not all(limits.min <= v <= limits.max for v in exact)
    else:
        assert [int(value) for value in converted] == exact
        assert converted.dtype == target
        assert (note is None) == (source == target)


def test_rounding_of_doubles_is_told(takes: Takes) -> None:
    feed, notes = conform(takes(x=("float32", "n", 1)), x=np.array([0.1]))
    assert feed["x"] == np.float32(0.1)
    assert notes == ("input 'x' was converted from float64 to float32",)
