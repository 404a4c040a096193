"""What goes back to float as a whole: int8 that is slower than the model as given, unless it is wanted for its size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import onnx_ir as ir
import pytest

from deploycompress import model as models
from deploycompress.calibration import Statistics
from deploycompress.flow.draft import Draft
from deploycompress.flow.executed import named
from deploycompress.flow.making import Made
from deploycompress.flow.rollback import RolledBack, roll_back
from deploycompress.quantization.plan import plan
from deploycompress.quantization.qdq import emit_qdq
from deploycompress.quantization.spec import Bits, Width
from deploycompress.runtime.session import Session, SessionConfig
from tests.quantization.nets import TARGET, feeds, statistics
from tests.zoo import model, normal


def convolutions(layers: int) -> ir.Model:
    """So many equal convolutions in a row."""
    names = ["x", *(f"c{i}" for i in range(layers - 1)), "y"]
    lines = " ".join(f"{b} = Conv<pads=[1,1,1,1]>({a}, w)" for a, b in pairwise(names))
    weight = normal(32, 32, 3, 3) / 17
    return named(model(f"g (float[1,32,24,24] x) => (float[1,32,24,24] y) {{ {lines} }}", w=weight))


def opened(net: ir.Model) -> Session:
    return Session(models.serialize(net), SessionConfig(threads=1))


def rolled(original: Session, *, keep_slower: bool = False) -> RolledBack:
    """Three convolutions in int8, against some model as given."""
    net = convolutions(3)
    drafted = Draft(net, (), frozenset(), Static8(net, statistics(net)))
    return roll_back(drafted, drafted.made(), original, feeds(net)[0], keep_slower=keep_slower)


@dataclass(frozen=True)
class Static8:
    """Static int8 of one graph, on statistics at hand."""

    net: ir.Model
    seen: Statistics
    wider: tuple[Bits, ...] = ()

    def __call__(self, widths: Mapping[str, Width]) -> Made:
        made = plan(self.net, TARGET, self.seen, exclude=frozenset(widths))
        return Made(made, emit_qdq(self.net, made))


@pytest.fixture(scope="module")
def nothing() -> Session:
    """A model beside which three convolutions are slow in whatever form: no noise makes them as fast as one Neg."""
    return opened(model("g (float[1,32,24,24] x) => (float[1,32,24,24] y) { y = Neg(x) }"))


def forms(found: RolledBack) -> set[str]:
    return {planned.form for planned in found.made.plan.nodes.values()}


def test_int8_that_is_slower_than_the_model_as_given_goes_back_as_a_whole(nothing: Session) -> None:
    found = rolled(nothing)
    assert forms(found) == {"float"}
    assert not any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in found.made.model.graph)
    assert found.given_up is not None
    assert found.given_up.verdict == "SLOWER"
    assert set(found.released) == {"c0", "c1", "y"}
    reasons = {planned.reason for planned in found.made.plan.nodes.values()}
    assert all("measured: " in why or "of its speed on this machine" in why for why in reasons)


def test_slower_int8_stays_where_it_is_wanted_for_its_size(nothing: Session) -> None:
    found = rolled(nothing, keep_slower=True)
    assert found.given_up is None
    assert "int8" in forms(found)


def test_int8_stays_where_the_whole_is_no_slower_than_the_model_as_given() -> None:
    # Ten times the work in the model as given: int8 of three layers is faster on any machine.
    found = rolled(opened(convolutions(30)))
    assert found.given_up is None
    assert "int8" in forms(found)
