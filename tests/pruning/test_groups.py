"""Which channels and heads go together, in nets whose answer can be read off; and what is refused, with the reason."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from deploycompress.pruning import find
from tests import zoo
from tests.pruning import nets
from tests.pruning.running import halved, members


def sizes(model: ir.Model) -> dict[str, tuple[int, int]]:
    """(units, indices of a unit) by the first weight of each group."""
    return {group.name: (group.units, group.width) for group in find(model).groups}


def test_channels_of_a_residual_stream_go_with_all_that_read_and_write_it() -> None:
    stream, inner = find(nets.residual()).groups
    assert members(stream) == {"w0:0", "b0:0", "w1:1", "w2:0", "b2:0", "wh:0"}
    assert members(inner) == {"w1:0", "b1:0", "w2:1"}
    assert (stream.units, inner.units) == (8, 6)


def test_a_depthwise_convolution_ties_what_comes_before_to_what_comes_behind() -> None:
    expanded, projected = find(nets.depthwise()).groups
    assert members(expanded) == {"w0:0", "g:0", "b:0", "m:0", "v:0", "w1:0", "b1:0", "slope:0", "w2:1"}
    assert members(projected) == {"w2:0", "wh:0"}


def test_branches_of_a_concat_have_their_own_columns_of_the_weight_behind_it() -> None:
    stream, side = find(nets.shared_concat()).groups
    assert members(stream) == {"w0:0", "w2:0", "w2:1", "b2:0", "wh:0"}
    assert members(side) == {"w1:0", "w2:1"}
    assert (stream.units, side.units) == (6, 4)


def test_padded_channels_stand_apart_from_those_of_the_shortcut() -> None:
    found = sizes(nets.padded_shortcut())
    assert found == {"w0": (4, 1), "w1": (4, 1)}


def test_grouped_convolutions_lose_whole_groups() -> None:
    assert sizes(nets.grouped()) == {"w0": (2, 4)}


def test_shuffled_channels_keep_their_identity() -> None:
    groups = find(nets.shuffled()).groups
    assert sum(group.units for group in groups if "w0:0" in members(group)) == 4


def test_pixels_of_a_channel_go_together_behind_a_flatten() -> None:
    conv, picked, rest = find(nets.flattened()).groups
    assert members(conv) == {"w0:0", "b0:0", "w1:1"}
    assert int((conv.members[-1].units == 0).sum()) == 16
    assert {(group.units, frozenset(members(group))) for group in (picked, rest)} == {
        (4, frozenset({"w1:0", "b1:0", "w2:0", "w3:0"})),
        (4, frozenset({"w1:0", "b1:0", "w2:0"})),
    }


@pytest.mark.parametrize("name", nets.ATTENTIONS)
def test_heads_hidden_features_and_the_stream_are_the_groups_of_a_transformer(name: str) -> None:
    groups = {(group.units, group.width): group for group in find(nets.ATTENTIONS[name]()).groups}
    shared = "grouped_query" in name
    width = {"merged": 12, "merged_fused": 12, "grouped_query_fused": 32}.get(name, 8 if shared else 4)
    heads = (2 if shared else 4, width)
    assert set(groups) == {(16, 1), heads, (24, 1)}
    assert groups[heads].members[-1].weight.name == ("wor0" if "query_fused" in name else "wo0")
    assert groups[16, 1].is_averaged
    assert not groups[24, 1].is_averaged


REFUSED: dict[str, tuple[Callable[[], ir.Model], str]] = {
    "graph input": (nets.residual, "it is fed by the graph input 'x'"),
    "graph output": (nets.residual, "it is the graph output 'y'"),
    "embedding rows": (nets.ATTENTIONS["separate"], "Gather 't' looks it up by what is fed"),
    "softmax": (
        lambda: zoo.model(
            "g (float[N,4] x) => (float[N,2] y) { a = MatMul(x, w) s = Softmax(a) y = MatMul(s, u) }",
            w=zoo.normal(4, 6),
            u=zoo.normal(6, 2),
        ),
        "Softmax takes shares along it",
    ),
    "recurrent": (
        lambda: zoo.model(
            "g (float[5,N,4] x) => (float[1,N,3] y) { a = MatMul(x, w) , y = LSTM<hidden_size=3>(a, i, r) }",
            w=zoo.normal(4, 6),
            i=zoo.normal(1, 12, 6),
            r=zoo.normal(1, 12, 3),
        ),
        "LSTM 'LSTM' is recurrent, which is left alone",
    ),
    "control flow": (
        lambda: zoo.model(
            "g (float[N,4] x, bool c) => (float[N,2] y) { a = MatMul(x, w) y = If(c) <then_branch = t () =>"
            " (float[N,2] p) { p = MatMul(a, u) }, else_branch = e () => (float[N,2] q) { q = MatMul(a, v) }> }",
            w=zoo.normal(4, 6),
            u=zoo.normal(6, 2),
            v=zoo.normal(6, 2, seed=1),
        ),
        "If 'y' is control flow, which is left alone",
    ),
    "no rule": (
        lambda: zoo.model(
            "g (float[N,4] x) => (float[N,6] y) { a = MatMul(x, w) b = Hardmax(a) c, i = TopK(b, two)"
            " y = MatMul(c, u) }",
            w=zoo.normal(4, 6),
            u=zoo.normal(2, 6),
            two=zoo.np.asarray([2]),
        ),
        "it is read by Hardmax 'b', for which there is no rule",
    ),
    "maximum": (
        lambda: zoo.model(
            "g (float[N,4] x) => (float[N,1] y) { a = MatMul(x, w) y = ReduceMax<axes=[1]>(a) }", w=zoo.normal(4, 6)
        ),
        "ReduceMax looks along it",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_may_not_go_is_refused_with_its_reason(name: str) -> None:
    build, reason = REFUSED[name]
    refused = find(build()).refused
    assert reason in {why for group in refused for why in group.refusals}


def test_one_head_alone_is_refused() -> None:
    model = zoo.model(
        "g (float[N,4] x) => (float[N,2] y) { a = MatMul(x, w) b = Reshape(a, t) s = Softmax(b) c = Reshape(s, u)"
        " y = MatMul(c, v) }",
        w=zoo.normal(4, 6),
        v=zoo.normal(6, 2),
        **nets.integers(t=[0, 1, 6], u=[0, 6]),
    )
    assert not find(model).groups


_SCALED = (
    "g (float[N,6,4] x) => (float[N,6,3] y) { a = MatMul(x, w) s = Shape(a) c = Gather(s, two) f = Cast<to=1>(c)"
    " r = Sqrt(f) d = Div(a, r) y = MatMul(d, u) }"
)
_VIEWED = (
    "g (float[N,6,4] x) => (float[N,6,3] y) { a = MatMul(x, w) s = Shape(a) n = Slice(s, zero, one)"
    " c = Slice(s, two, three) h = Div(c, four) t = Concat<axis=0>(n, six, four, h) b = Reshape(a, t)"
    " z = Transpose<perm=[0,2,1,3]>(b) m = Softmax(z) k = Transpose<perm=[0,2,1,3]>(m)"
    " v = Concat<axis=0>(n, six, c) e = Reshape(k, v) y = MatMul(e, u) }"
)
_NAMED = (
    "g (float[N,6,4] x) => (float[N,6,3] y) { a = MatMul(x, w) s = Shape(a) n = Slice(s, zero, one)"
    " c = Slice(s, two, three) t = Concat<axis=0>(n, six, c) b = Reshape(a, t) y = MatMul(b, u) }"
)
_LENGTHS = nets.integers(zero=[0], one=[1], two=[2], three=[3], four=[4], six=[6])


def test_a_count_of_channels_that_is_computed_with_keeps_them() -> None:
    model = zoo.model(_SCALED, w=zoo.normal(4, 8), u=zoo.normal(8, 3), two=np.asarray(2))
    grouping = find(model)
    assert grouping.groups == ()
    assert ["Cast 'f' computes with its length"] in [list(group.refusals) for group in grouping.refused]


def test_a_count_of_channels_that_another_length_is_computed_from_keeps_them() -> None:
    """The size of a head is the channels over four: with two heads less it would be another one."""
    grouping = find(_counting(_VIEWED))
    assert grouping.groups == ()
    assert ["Reshape 'b' computes with its length"] in [list(group.refusals) for group in grouping.refused]


def test_a_count_of_channels_that_is_the_length_of_a_view_lets_them_go() -> None:
    grouping, _ = halved(_counting(_NAMED))
    assert [(group.units, group.width) for group in grouping.groups] == [(8, 1)]


def _counting(text: str) -> ir.Model:
    used = {name: data for name, data in _LENGTHS.items() if f"{name}," in text or f"{name})" in text}
    return zoo.model(text, w=zoo.normal(4, 8), u=zoo.normal(8, 3), **used)


def test_a_count_of_places_in_a_head_that_is_computed_with_lets_whole_heads_go() -> None:
    """As in a scale of the scores: one over the root of the size of a head."""
    model = zoo.model(
        "g (float[N,6,4] x) => (float[N,6,3] y) { a = MatMul(x, w) b = Reshape(a, heads) s = Shape(b)"
        " c = Slice(s, three, four) f = Cast<to=1>(c) r = Sqrt(f) d = Div(b, r) e = Reshape(d, flat)"
        " y = MatMul(e, u) }",
        w=zoo.normal(4, 8),
        u=zoo.normal(8, 3),
        **nets.integers(heads=[0, 0, 4, 2], flat=[0, 0, 8], three=[3], four=[4]),
    )
    grouping, _ = halved(model)
    assert [(group.units, group.width) for group in grouping.groups] == [(4, 2)]


def test_a_count_of_channels_that_is_given_out_keeps_them() -> None:
    model = zoo.model(
        "g (float[N,6,4] x) => (float[N,6,3] y, int64[1] c) { a = MatMul(x, w) s = Shape(a) c = Slice(s, two, three)"
        " y = MatMul(a, u) }",
        w=zoo.normal(4, 8),
        u=zoo.normal(8, 3),
        **nets.integers(two=[2], three=[3]),
    )
    grouping = find(model)
    assert grouping.groups == ()
    assert ["its length is the graph output 'c'"] in [list(group.refusals) for group in grouping.refused]
