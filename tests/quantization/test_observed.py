"""Ranges over which no grid can be laid: the layers around them stay float, with the reason, and the rest is right."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycompress.calibration import Statistics, collect
from deploycompress.calibration.statistics import TensorStatistics
from deploycompress.errors import DataRejectedError
from deploycompress.quantization.observed import why_no_grid
from deploycompress.quantization.plan import plan, required_tensors
from deploycompress.quantization.qdq import emit_qdq
from tests.quantization.nets import TARGET, feeds, residual_net, run, sqnr_db, statistics
from tests.zoo import model, normal


def of(*values: float) -> TensorStatistics:
    return TensorStatistics.of(np.array(values, np.float32))


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (None, "was not observed during calibration"),
        (of(), "had no elements in any calibration sample"),
        (of(0.0, 0.0), "was 0 in every calibration sample"),
        (of(-1e-7, 2e-7), "stayed within -1e-07 .. 2e-07 during calibration, which is too narrow for 8 bits"),
        (of(3.0, 3.0), ""),  # a constant lies at the end of the range [0, 3]
        (of(-3.0), ""),
        (of(1e-5), ""),
        (of(-3e38, 3e38), ""),
    ],
)
def test_what_is_wrong_with_a_range_is_said(seen: TensorStatistics | None, why: str) -> None:
    assert why_no_grid(seen) == why


def branches() -> ir.Model:
    """Two branches joined by an Add; the first one is dead on the samples that switch it off."""
    return model(
        """g (float[N,3,6,6] x, float[N,4,4,4] gate) => (float[N,4,2,2] y) {
            a = Conv(x, u)  g = Mul(a, gate)  b = Conv(g, p)  r = Relu(b)
            c = Conv(x, v)  s = Add(r, c)  y = Conv(s, w) }""",
        u=normal(4, 3, 3, 3),
        p=normal(4, 4, 1, 1),
        v=normal(4, 3, 3, 3, seed=1),
        w=normal(4, 4, 3, 3),
    )


def test_a_branch_that_calibration_never_saw_alive_stays_float_and_works_when_it_wakes() -> None:
    net = branches()
    asleep = [{"x": feed["x"], "gate": np.zeros_like(feed["gate"])} for feed in feeds(net)]
    made = plan(net, TARGET, collect(net, required_tensors(net, TARGET), asleep))
    assert {made.nodes[name].form for name in ("a", "c", "y")} == {"int8"}
    assert (made.nodes["b"].form, made.nodes["b"].reason) == ("float", "'g' was 0 in every calibration sample")
    int8 = emit_qdq(net, made)
    awake = feeds(net)[0]
    # The sum was never calibrated with both branches alive, so its range clips; the branch itself must come through.
    with_branch = run(int8, awake)["y"]
    without = run(int8, {"x": awake["x"], "gate": np.zeros_like(awake["gate"])})["y"]
    assert np.abs(with_branch - without).max() > 0.1


@given(st.sampled_from(["x", "r0", "c1", "r1", "p"]))
def test_whichever_tensor_has_no_range_the_plan_is_sound(name: str) -> None:
    net = residual_net()
    seen = statistics(net)
    dead = TensorStatistics.of(np.zeros(4, np.float32))
    made = plan(net, TARGET, Statistics({**seen.tensors, name: dead}, seen.samples))
    touched = [node for node in made.nodes.values() if node.reason == f"{name!r} was 0 in every calibration sample"]
    assert touched
    assert all(node.form == "float" for node in touched)
    assert name not in made.activations
    feed = feeds(net)[0]
    assert sqnr_db(run(net, feed)["y"], run(emit_qdq(net, made), feed)["y"]) > 30


def test_a_constant_tensor_is_represented() -> None:
    net = model(
        "g (float[N,64] x) => (float[N,3] y) { z = Mul(x, o) k = Add(z, c) y = Gemm(k, w) }",
        o=np.float32(0),
        c=np.float32([3.0]),
        w=normal(64, 3),
    )
    made = plan(net, TARGET, collect(net, required_tensors(net, TARGET), feeds(net)))
    feed = feeds(net)[0]
    assert made.nodes["y"].form == "int8"
    assert sqnr_db(run(net, feed)["y"], run(emit_qdq(net, made), feed)["y"]) > 40


def test_infinite_values_are_refused_by_name() -> None:
    net = residual_net()
    seen = statistics(net)
    broken = TensorStatistics.of(np.array([1.0, np.inf, np.nan], np.float32))
    with pytest.raises(DataRejectedError, match=r"tensor 'r0' held 2 NaN or infinite values during calibration"):
        plan(net, TARGET, Statistics({**seen.tensors, "r0": broken}, seen.samples))
