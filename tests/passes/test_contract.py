"""What every pass promises, tried on every small model; a pass added to the pipelines is tested here by itself."""

from __future__ import annotations

import itertools

import onnx_ir as ir
import pytest

from deploycompress.passes import pipelines
from deploycompress.passes.base import Pass
from deploycompress.passes.fix_dimensions import FixDimensions
from deploycompress.passes.rows_to_matrix import RowsToMatrix
from deploycompress.passes.slice_early import SliceEarly
from tests.passes.running import assert_same_outputs, checks, proto
from tests.zoo import MODELS

EVERY_PASS = (*pipelines.EVERY_PASS, SliceEarly(), RowsToMatrix(), FixDimensions((("N", 2),)))
PAIRS = list(itertools.product(EVERY_PASS, MODELS))
every_pair = pytest.mark.parametrize(
    ("step", "name"), PAIRS, ids=[f"{type(step).__name__}-{name}" for step, name in PAIRS]
)
every_pass = pytest.mark.parametrize("step", EVERY_PASS, ids=lambda step: type(step).__name__)


@every_pair
def test_pass_keeps_its_contract(step: Pass, name: str) -> None:
    """All promises in one test, because running a pass on a model costs more than any of the questions."""
    before = MODELS[name]()
    bytes_before = proto(before)
    result = step(before)
    after = result.model
    assert proto(before) == bytes_before, "the model given was changed"
    assert (after is before) == (not result.changes), "no changes means the model itself, changes mean another"
    assert all(change.where and change.what for change in result.changes), "a change says where and what"
    assert all(refusal.where and refusal.reason for refusal in result.refusals), "a refusal says where and why"
    if after is before:
        return
    assert proto(after) != bytes_before, "changes are reported where there are none"
    assert _names(after) == _names(before), "inputs and outputs keep their names"
    assert_same_outputs(before, after)
    if checks(before) is None:
        assert checks(after) is None
    again = step(after)
    assert again.changes == (), "a second run finds nothing"
    assert again.model is after


def _names(model: ir.Model) -> list[list[str | None]]:
    return [[value.name for value in side] for side in (model.graph.inputs, model.graph.outputs)]


@every_pass
def test_repr_round_trips(step: Pass) -> None:
    names = {type(each).__name__: type(each) for each in EVERY_PASS}
    assert eval(repr(step), names) == step  # the report promises that a repr can be run again


@every_pass
def test_pass_states_whether_it_is_exact_and_satisfies_the_protocol(step: Pass) -> None:
    assert isinstance(step, Pass)
    assert step.exact is True


@pytest.mark.parametrize("name", MODELS)
def test_whole_pipeline_keeps_outputs(name: str) -> None:
    before = after = MODELS[name]()
    for step in pipelines.EVERY_PASS:
        after = step(after).model
    for free in (1, 3):
        assert_same_outputs(before, after, free=free, seed=free)
    if checks(before) is None:
        assert checks(after) is None


@every_pass
def test_every_pass_changes_some_model_of_the_zoo(step: Pass) -> None:
    """A pass that no test model sets off would pass this whole file untested."""
    assert any(step(build()).changes for build in MODELS.values())
