"""8-bit lookup tables: what is looked up, how close, what is refused, what is shared."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploycompress.quantization.dynamic import emit_dynamic
from deploycompress.quantization.plan import plan_dynamic
from tests.quantization.nets import TARGET, run
from tests.zoo import model, normal


def lookup(table: np.ndarray, body: str = "y = Gather(t, ids)", result: str = "float[N,S,H] y") -> ir.Model:
    return model(f"g (int64[N,S] ids) => ({result}) {{ {body} }}", t=table)


def emitted(net: ir.Model) -> ir.Model:
    return emit_dynamic(net, plan_dynamic(net, TARGET))


@settings(max_examples=25, deadline=None)
@given(st.integers(200, 400), st.integers(128, 200), st.integers(0, 99), st.floats(-12, 12))
def test_every_row_is_within_half_a_step_of_its_own(rows: int, width: int, seed: int, octaves: float) -> None:
    table = normal(rows, width, seed=seed) * np.exp2(np.linspace(0, octaves, rows))[:, None].astype(np.float32)
    ids = np.random.default_rng(seed).integers(-rows, rows, (2, 17))
    found = run(emitted(lookup(table)), {"ids": ids})["y"]
    assert found.shape == (2, 17, width)
    step = np.abs(table).max(axis=1) / 127
    # Half a step, and the rounding of scale and product to float32 (2^-23 of 127 steps each).
    assert (np.abs(found - table[ids]) <= step[ids][..., None] * (0.5 + 254 * 2**-23)).all()


def test_the_float_table_leaves_the_file_and_names_stay() -> None:
    after = emitted(lookup(normal(300, 200), "h = Gather(t, ids) y = Tanh(h)"))
    assert "t" not in after.graph.initializers
    assert {"h", "y"} <= {str(value.name) for node in after.graph for value in node.outputs}
    assert sum(value.const_value.nbytes for value in after.graph.initializers.values()) == 300 * 200 + 300 * 4


def test_a_graph_output_keeps_its_name() -> None:
    assert [value.name for value in emitted(lookup(normal(300, 200))).graph.outputs] == ["y"]


def test_lookups_in_one_table_share_its_codes() -> None:
    net = model(
        "g (int64[N] a, int64[N] b) => (float[N,200] y) { p = Gather(t, a) q = Gather(t, b) y = Add(p, q) }",
        t=normal(300, 200),
    )
    after = emitted(net)
    assert len(after.graph.initializers) == 2
    feed = {"a": np.array([0, 299]), "b": np.array([-1, 5])}
    np.testing.assert_allclose(run(after, feed)["y"], run(net, feed)["y"], atol=0.04)  # two half steps of 4 / 127


@pytest.mark.parametrize(
    ("other", "exclude"),
    [
        ("q = Gather(t, ids)", frozenset({"q"})),
        ("q = Gather(t, c)", frozenset()),
        (
            "q = If(k) <then_branch = a () => (float[N,S,H] p) { p = Gather(t, ids) }, "
            "else_branch = b () => (float[N,S,H] r) { r = Gather(t, ids) }>",
            frozenset(),
        ),
    ],
    ids=["excluded", "constant", "body"],
)
def test_a_table_that_some_lookup_reads_in_float_is_not_stored_twice(other: str, exclude: frozenset[str]) -> None:
    net = model(
        f"g (int64[N,S] ids, bool k) => (float[N,S,H] y, float q) {{ y = Gather(t, ids) {other} }}",
        t=normal(300, 200),
        c=np.array([3, 5]),
    )
    planned = plan_dynamic(net, TARGET, exclude)
    assert planned.nodes["y"].reason == "the table is also read by Gather, which needs it in float"
    assert list(emit_dynamic(net, planned).graph.initializers) == ["t", *(["c"] if "c)" in other else [])]


@pytest.mark.parametrize("dtype", [np.float16, np.int64])
def test_tables_that_are_not_float32_are_no_business_of_ours(dtype: type) -> None:
    assert plan_dynamic(lookup(normal(300, 200).astype(dtype), result="float y"), TARGET).nodes == {}


def test_a_table_that_the_caller_gets_stays() -> None:
    net = lookup(normal(300, 200), result="float[N,S,H] y, float[300,200] t")
    assert (
        plan_dynamic(net, TARGET).nodes["y"].reason == "the table is also read by the caller, which needs it in float"
    )


@pytest.mark.parametrize(
    ("body", "shape", "reason"),
    [
        ("y = Gather(t, ids)", (2, 384), "8-bit rows would save 2,296 bytes, which is not worth three nodes more"),
        ("y = Gather<axis=1>(t, ids)", (300, 200), None),
        ("y = Gather(t, ids)", (300, 20, 10), "the table has 3 axes, not rows and columns"),
        ("y = Gather(t, ids) z = Neg(t)", (300, 200), "the table is also read by Neg, which needs it in float"),
        ("k = Gather(ids, ids) y = Gather(t, c)", (300, 200), "its indices are constant"),
    ],
)
def test_what_cannot_gain_stays_float_with_the_reason(body: str, shape: tuple[int, ...], reason: str | None) -> None:
    net = lookup(normal(*shape), body, "float y")
    if " c)" in body:
        net.graph.register_initializer(ir.val("c", const_value=ir.tensor(np.array([1, 2]), name="c")))
        next(n for n in net.graph if n.outputs[0].name == "y").replace_input_with(1, net.graph.initializers["c"])
    plans = plan_dynamic(net, TARGET).nodes
    assert (plans["y"].form, plans["y"].reason) == ("float", reason) if reason else "y" not in plans


def test_a_table_with_nan_is_left_alone() -> None:
    table = normal(300, 200)
    table[7, 7] = np.nan
    assert plan_dynamic(lookup(table), TARGET).nodes["y"].reason == "the table holds NaN or infinity"


def test_an_excluded_lookup_stays_float() -> None:
    net = lookup(normal(300, 200))
    planned = plan_dynamic(net, TARGET, frozenset({"y"}))
    assert planned.nodes["y"].reason == "excluded by the user"
    assert "t" in emit_dynamic(net, planned).graph.initializers
