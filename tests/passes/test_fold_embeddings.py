"""Lookups of one row become the row, and the table of positions takes it in; numpy says what the sum is."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx_ir as ir
import pytest

from deploycompress.passes import graph as g
from deploycompress.passes.fold_embeddings import FoldEmbeddings
from tests.passes.running import outputs
from tests.zoo import embeddings, model, normal

IDS = np.array([[1, 4, 0], [2, 2, 3]])
WORDS, TYPES, POSITIONS = normal(9, 8), normal(2, 8, seed=1), normal(6, 8, seed=2)


def operators(given: ir.Model) -> Counter[str]:
    return Counter(node.op_type for node in g.nodes(given))


@pytest.mark.parametrize("behind", [True, False])
def test_one_type_is_added_to_the_positions(behind: bool) -> None:
    result = FoldEmbeddings()(embeddings(behind))
    assert [change.what for change in result.changes] == [
        "the one row that is looked up is added to the table of place"
    ]
    assert operators(result.model)["Gather"] == 2
    assert operators(result.model)["Add"] == 1
    assert operators(result.model)["Expand"] == 0
    expected = WORDS[IDS] + POSITIONS[:3] + TYPES[0]
    # Two float32 additions in another order.
    np.testing.assert_allclose(outputs(result.model, {"ids": IDS})["y"], expected, rtol=0, atol=1e-6)


def summed(types: str = "Expand(zero, shape)", tail: str = "y = Add(word, kind)", **weights: np.ndarray) -> ir.Model:
    given: dict[str, np.ndarray] = {"words": WORDS, "types": TYPES, "zero": np.array([0]), "one": np.array([1])}
    return model(
        f"""g (int64[B,S] ids, int64[B,S] other) => (float[B,S,8] y) {{
            word = Gather(words, ids) shape = Shape(ids) zeros = {types} kind = Gather(types, zeros) {tail}
        }}""",
        **(given | weights),
    )


@pytest.mark.parametrize(
    "types",
    [
        "Expand(one, shape)",
        "ConstantOfShape <value = int64[1] {1}> (shape)",
        "Expand(last, shape)",
    ],
)
def test_any_row_is_taken_however_it_is_named(types: str) -> None:
    result = FoldEmbeddings()(summed(types, last=np.array([-1])))
    assert operators(result.model)["Gather"] == 1
    feed = {"ids": IDS, "other": IDS}
    np.testing.assert_allclose(outputs(result.model, feed)["y"], WORDS[IDS] + TYPES[1], rtol=0, atol=1e-6)


def test_a_table_in_use_elsewhere_is_not_changed_and_the_row_is_added() -> None:
    tail = """turned = Transpose(words) a = Add(word, kind) tied = MatMul(a, turned) back = MatMul(tied, words)
            y = Add(a, back)"""
    before = summed(tail=tail)
    result = FoldEmbeddings()(before)
    assert [change.what for change in result.changes] == ["the one row that is looked up is added"]
    feed = {"ids": IDS, "other": IDS}
    np.testing.assert_allclose(outputs(result.model, feed)["y"], outputs(before, feed)["y"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("types", "weights"),
    [
        ("Identity(other)", {}),  # types that the caller gives
        ("Expand(both, shape)", {"both": np.array([[0, 1, 0]])}),  # two types
        ("Expand(beyond, shape)", {"beyond": np.array([2])}),  # no such row: ONNX Runtime has the word
    ],
)
def test_other_lookups_are_left_alone(types: str, weights: dict[str, np.ndarray]) -> None:
    given = summed(types, **weights)
    result = FoldEmbeddings()(given)
    assert result.model is given
    assert result.refusals == ()


def test_the_smallest_table_takes_the_row_in() -> None:
    changed = FoldEmbeddings()(embeddings()).model
    np.testing.assert_array_equal(g.array(changed.graph.initializers["words"]), WORDS)
    np.testing.assert_array_equal(g.array(changed.graph.initializers["positions"]), POSITIONS + TYPES[0])


def test_a_sum_that_is_wider_than_its_other_term_is_refused() -> None:
    given = model(
        """g (int64[S] ids, int64[B,S] other) => (float[B,S,8] y) {
            word = Gather(words, ids) shape = Shape(other) zeros = Expand(zero, shape) kind = Gather(types, zeros)
            y = Add(word, kind)
        }""",
        words=WORDS,
        types=TYPES,
        zero=np.array([0]),
    )
    result = FoldEmbeddings()(given)
    assert result.model is given
    assert [refusal.reason for refusal in result.refusals] == [
        "the sum is not known to have the shape of its other term"
    ]


def test_a_half_precision_table_without_room_for_the_sum_is_left() -> None:
    large = np.full((9, 8), 60000, np.float16)
    given = model(
        """g (int64[B,S] ids) => (float16[B,S,8] y) {
            word = Gather(words, ids) shape = Shape(ids) zeros = Expand(zero, shape) kind = Gather(types, zeros)
            y = Add(word, kind)
        }""",
        words=large,
        types=large[:2],
        zero=np.array([0]),
    )
    result = FoldEmbeddings()(given)
    assert [change.what for change in result.changes] == ["the one row that is looked up is added"]


def test_a_lookup_of_columns_is_left_alone() -> None:
    given = model(
        """g (int64[B,S] ids, float[2,B,S] x) => (float[2,B,S] y) {
            shape = Shape(ids) zeros = Expand(zero, shape) kind = Gather <axis = 1> (types, zeros) y = Add(x, kind)
        }""",
        types=TYPES,
        zero=np.array([0]),
    )
    assert FoldEmbeddings()(given).model is given


def beside(lookup: str, inputs: str = "", tail: str = "", results: str = "", **weights: np.ndarray) -> ir.Model:
    return model(
        f"""g (int64[2,S] ids{inputs}) => (float[2,S,8] y{results}) {{
            word = Gather(words, ids) shape = Shape(ids) zeros = Expand(zero, shape) kind = Gather(types, zeros)
            a = Add(word, kind) place = {lookup} {tail} y = Add(a, place)
            again = Gather(words, ids) unused = Relu(again)
        }}""",
        words=WORDS,
        types=TYPES,
        zero=np.array([0]),
        **weights,
    )


@pytest.mark.parametrize(
    ("given", "more"),
    [
        (beside("Gather <axis = 1> (t, which)", ", int64[S,8] which", t=normal(2, 8, seed=7)), {"which": (3, 8)}),
        (beside("Gather(t, ids)", "", "z = Relu(place)", ", float[2,S,8] z", t=normal(5, 8, seed=7)), {}),
        (beside("Gather(t, ids)", t=normal(5, 1, seed=7)), {}),
    ],
    ids=["of columns", "read twice", "of one column"],
)
def test_a_table_that_cannot_take_the_row_in_stays_as_it_is(given: ir.Model, more: dict[str, tuple[int, ...]]) -> None:
    result = FoldEmbeddings()(given)
    assert [change.what for change in result.changes] == ["the one row that is looked up is added"]
    feed = {"ids": IDS} | {name: np.arange(np.prod(shape)).reshape(shape) % 8 for name, shape in more.items()}
    before, after = outputs(given, feed), outputs(result.model, feed)
    for name, value in before.items():
        np.testing.assert_allclose(after[name], value, rtol=0, atol=1e-6)
    table, kept = (g.array(each.graph.initializers["t"]) for each in (given, result.model))
    np.testing.assert_array_equal(kept, table)
