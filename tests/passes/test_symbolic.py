"""Equal symbols are equal lengths: checked against the arrays ONNX Runtime makes, each symbol a prime of its own."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycompress.passes.broadcasting import broadcast
from deploycompress.passes.constant_targets import ConstantTargets
from deploycompress.passes.symbolic import symbolic
from tests import zoo
from tests.passes.running import outputs, same_outputs_on

PRIMES = {"N": 3, "S": 5, "T": 7}

# {name: graph}; together they use every rule of the module and every kind of shape arithmetic.
GRAPHS = {
    "encoder": zoo.encoder,
    "features": lambda: zoo.encoder("float[N,S,8] n", ""),
    "arithmetic": lambda: zoo.model(
        "g (float[N,S,4] x, float[T,4] z) => (float y) { s = Shape(x) a = Gather(s, i0) b = Slice(s, i1, i2)"
        " c = Squeeze(b) d = Cast<to=7>(c) e = Unsqueeze(d, i0) ab = Concat<axis=0>(a, e, minus) r = Reshape(x, ab)"
        " one = Div(four, four) n = Mul(a, one) o = Concat<axis=0>(n, i1, four) w = Expand(table, o)"
        " range = Range(zero, d, step) u = Slice(table5, i0, e, i0) m = Add(w, r) p = ReduceMean<axes=[-1]>(m)"
        " q = Concat<axis=1>(m, w) t = Split<axis=2>(m) v = Gather(z, ids) k = Sub(e, i1) l = Range(zero, k, step)"
        " h = Gemm<transA=1>(z, z) y = ReduceSum(q) }",
        table=zoo.normal(1, 1, 4),
        table5=zoo.normal(5),
        ids=np.asarray([[0, 1], [1, 0]], np.int64),
        **{n: np.asarray([v], np.int64) for n, v in {"i0": 0, "i1": 1, "i2": 2, "minus": -1, "four": 4}.items()},
        zero=np.asarray(0, np.int64),
        step=np.asarray(1, np.int64),
    ),
    "traced expand": lambda: zoo.model(
        "g (float[N,S] x) => (float[N,S] y) { s = Shape(x) shape = Concat<axis=0>(s) e = Equal(shape, minus)"
        " w = Where(e, ones, shape) m = Expand(row, w) y = Add(x, m) }",
        minus=np.asarray([-1, -1], np.int64),
        ones=np.asarray([1, 1], np.int64),
        row=zoo.normal(1, 1),
    ),
    "convolution": lambda: zoo.model(
        "g (float[N,3,8,8] x) => (float[N,16,4] y) { c = Conv<strides=[2,2], kernel_shape=[2,2]>(x, w)"
        " r = Reshape(c, shape) y = Transpose<perm=[0,2,1]>(r) }",
        w=zoo.normal(4, 3, 2, 2),
        shape=np.asarray([0, 4, -1], np.int64),
    ),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_every_length_is_what_a_run_gives_and_equal_symbols_are_equal(name: str) -> None:
    model = GRAPHS[name]()
    shapes = symbolic(model)
    values = [value for node in model.graph for value in node.outputs if shapes.dtype(value) is not None]
    for value in values:
        value.type = ir.TensorType(shapes.dtype(value))
    feeds = {
        value.name: zoo.normal(*(d if isinstance(d, int) else PRIMES[d.value] for d in value.shape))
        for value in model.graph.inputs
    }
    arrays = outputs(zoo.with_outputs(model, *(v.name for v in values if not v.is_graph_output())), feeds)
    lengths: dict[str, int] = dict(PRIMES)
    for value in values:
        for symbol, length in zip(shapes.symbolic(value), arrays[value.name].shape, strict=True):
            if isinstance(symbol, str):
                assert lengths.setdefault(symbol, length) == length, (value.name, symbol)
            else:
                assert symbol == length, value.name


def test_lengths_that_only_the_signature_ties_together_are_found() -> None:
    """The residual of the encoder: one side takes its batch from x, the other from x and the mask."""
    model = zoo.encoder("float[N,S,8] n", "")
    lengths = symbolic(model).lengths
    found = {value.name: lengths[value] for node in model.graph for value in node.outputs}
    assert found["n"] == ("N", "S", 8)
    assert found["q4"] == ("N", "S", 2, 4)
    assert found["raw"] == ("N", 2, "S", "S")


def test_axes_that_may_differ_get_different_names() -> None:
    model = zoo.model("g (float[N,4] x, float[T,4] z) => (float[?,4] y) { y = Add(x, z) }")
    (rows, columns) = symbolic(model).lengths[model.graph.outputs[0]]
    assert rows not in ("N", "T", 1)
    assert columns == 4


def test_table_cut_to_the_sequence_has_its_length_beside_a_sum() -> None:
    model = zoo.model(
        "g (float[S,4] x) => (float[S,4] y) { s = Shape<end=1>(x) t = Slice(table, zero, s, zero) y = Add(x, t) }",
        table=zoo.normal(6, 4),
        zero=np.asarray([0], np.int64),
    )
    lengths = symbolic(model).lengths
    assert lengths[model.graph.node(1).outputs[0]] == ("min(S,6)", 4)
    assert lengths[model.graph.outputs[0]] == ("S", 4)


@given(st.lists(st.lists(st.sampled_from([1, 1, 2, 3]), min_size=1, max_size=4), min_size=1, max_size=3))
def test_broadcast_of_known_lengths_is_that_of_numpy(all_dims: list[list[int]]) -> None:
    try:
        expected = np.broadcast_shapes(*map(tuple, all_dims))
    except ValueError:
        return
    assert broadcast([tuple(dims) for dims in all_dims], "y") == expected


def test_targets_of_an_encoder_are_constant_only_where_symbols_are_trusted() -> None:
    before = zoo.encoder()
    careful, trusting = ConstantTargets()(before), ConstantTargets(trust_symbols=True)(before)
    assert "c3" in {refusal.where for refusal in careful.refusals}
    assert {change.where: change.what for change in trusting.changes}["c3"] == "target of Reshape is [0, 0, 8]"
    for batch, sequence in ((1, 1), (3, 5)):
        feeds = {"x": zoo.normal(batch, sequence, 8), "mask": zoo.normal(batch, 1, 1, sequence)}
        same_outputs_on(before, trusting.model, feeds)
