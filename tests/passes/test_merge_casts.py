"""Two Casts are one where the first keeps every value; numpy says which do."""

from __future__ import annotations

import itertools

import numpy as np
import onnx_ir as ir
import pytest

from deploycompress.passes import graph as g
from deploycompress.passes.merge_casts import _WIDER, MergeCasts
from tests import zoo
from tests.passes.running import assert_same_outputs, outputs


def casts(model: ir.Model) -> dict[str, str]:
    return {
        n.outputs[0].name or "": ir.DataType(n.attributes["to"].as_int()).name
        for n in g.nodes(model)
        if n.op_type == "Cast"
    }


def test_casts_that_lose_nothing_go_and_the_others_say_why_not() -> None:
    before = zoo.cast_chains()
    result = MergeCasts()(before)
    assert casts(result.model) == {"z": "FLOAT", "e": "DOUBLE", "n": "INT32", "f": "FLOAT16", "h": "FLOAT"}
    assert {str(r) for r in result.refusals} == {
        "n: a number out of the range of the integer type has no defined result",
        "h: Cast to float16 first may lose what float holds",
    }
    assert_same_outputs(before, result.model)


@pytest.mark.parametrize(("narrow", "wide"), [(a, b) for a, types in _WIDER.items() for b in types])
def test_every_wider_type_holds_the_extremes_of_the_narrower(narrow: ir.DataType, wide: ir.DataType) -> None:
    """Extremes and the numbers with the most digits: if these survive, all do."""
    kind = narrow.numpy()
    if narrow == ir.DataType.BOOL:
        values = np.asarray([False, True])
    elif kind.kind in "iu":
        info = np.iinfo(kind)
        values = np.asarray([info.min, info.max, info.max - 1, info.min + 1], kind)
    else:
        info = ir.DataType.numpy(narrow)
        values = np.asarray([0.1, -0.1, 1 + 2**-7, 6e4, np.inf, -np.inf, 2**-14], np.float32).astype(info)
    np.testing.assert_array_equal(values.astype(wide.numpy()).astype(kind), values)


def test_no_pair_of_types_that_loses_values_is_called_wider() -> None:
    kinds = [t for t in _WIDER if t not in (ir.DataType.BOOL, ir.DataType.BFLOAT16)]
    for narrow, wide in itertools.permutations(kinds, 2):
        assert (wide in _WIDER[narrow]) == np.can_cast(narrow.numpy(), wide.numpy()), (narrow, wide)


def test_first_cast_that_something_else_reads_stays() -> None:
    model = zoo.model("g (int8[4] x) => (float[4] y, int32[4] z) { a = Cast<to=6>(x) y = Cast<to=1>(a) z = Neg(a) }")
    result = MergeCasts()(model)
    assert result.changes == ()
    assert "has other readers" in result.refusals[0].reason


def test_there_and_back_between_two_names_of_the_caller_stays() -> None:
    model = zoo.model("g (float[4] x) => (float[4] y) { a = Cast<to=11>(x) y = Cast<to=1>(a) }")
    result = MergeCasts()(model)
    assert result.changes == ()
    assert "graph input" in result.refusals[0].reason


@pytest.mark.parametrize(
    ("start", "through", "end"),
    [("uint32", "DOUBLE", "INT32"), ("int8", "FLOAT", "UINT8"), ("double", "DOUBLE", "INT32")],
)
def test_integers_that_a_float_carries_out_of_range_stay(start: str, through: str, end: str) -> None:
    types = ir.DataType
    model = zoo.model(
        f"g ({start}[4] x) => ({end.lower()}[4] y)"
        f" {{ a = Cast<to={int(types[through])}>(x) y = Cast<to={int(types[end])}>(a) }}"
    )
    result = MergeCasts()(model)
    assert result.changes == ()
    assert [r.reason for r in result.refusals] == [
        "a number out of the range of the integer type has no defined result"
    ]


def test_integers_that_a_float_carries_into_a_wider_type_go_directly() -> None:
    model = zoo.model("g (int8[4] x) => (int32[4] y) { a = Cast<to=1>(x) y = Cast<to=6>(a) }")
    result = MergeCasts()(model)
    assert casts(result.model) == {"y": "INT32"}
    inputs = {"x": np.asarray([-128, -1, 0, 127], np.int8)}
    np.testing.assert_array_equal(outputs(result.model, inputs)["y"], inputs["x"].astype(np.int32))


@pytest.mark.parametrize("through", ["INT16", "FLOAT"])
def test_there_and_back_goes_whatever_the_type_between(through: str) -> None:
    model = zoo.model(
        f"g (uint8[4] x) => (uint8[4] y) {{ r = Identity(x) a = Cast<to={int(ir.DataType[through])}>(r)"
        " b = Cast<to=2>(a) y = Identity(b) }"
    )
    result = MergeCasts()(model)
    assert casts(result.model) == {}
    inputs = {"x": np.asarray([0, 1, 254, 255], np.uint8)}
    np.testing.assert_array_equal(outputs(result.model, inputs)["y"], inputs["x"])


@pytest.mark.parametrize("start", ["uint8", "int8", "float16"])
def test_way_to_bool_is_direct(start: str) -> None:
    model = zoo.model(f"g ({start}[4] x) => (bool[4] y) {{ a = Cast<to=1>(x) y = Cast<to=9>(a) }}")
    result = MergeCasts()(model)
    assert casts(result.model) == {"y": "BOOL"}
    inputs = {"x": np.asarray([0, 1, 2, 3], start)}
    np.testing.assert_array_equal(outputs(result.model, inputs)["y"], inputs["x"].astype(bool))


@pytest.mark.parametrize("end", ["INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"])
def test_way_from_half_precision_to_integers_stays(end: str) -> None:
    model = zoo.model(
        f"g (float16[4] x) => ({end.lower()}[4] y) {{ a = Cast<to=1>(x) y = Cast<to={int(ir.DataType[end])}>(a) }}"
    )
    assert MergeCasts()(model).changes == ()


def test_text_of_a_number_stays_as_it_is_written() -> None:
    model = zoo.model("g (float[4] x) => (string[4] y) { a = Cast<to=11>(x) y = Cast<to=8>(a) }")
    assert [r.reason for r in MergeCasts()(model).refusals] == ["Cast to string is not followed"]


@pytest.mark.parametrize(
    "end", ["INT8", "INT16", "INT64", "UINT16", "UINT32", "UINT64", "FLOAT16", "BFLOAT16", "DOUBLE"]
)
def test_way_from_integers_over_wider_ones_is_direct(end: str) -> None:
    to = int(ir.DataType[end])
    model = zoo.model(f"g (uint8[4] x) => ({end.lower()}[4] y) {{ a = Cast<to=6>(x) y = Cast<to={to}>(a) }}")
    assert casts(MergeCasts()(model).model) == {"y": end}
