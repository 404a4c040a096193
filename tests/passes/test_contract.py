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
def test_exact_pass_keeps_outputs(step: Pass, name: str) -> None:
    before = MODELS[name]()
    assert_same_outputs(before, step(before).model)


@every_pair
def test_input_model_is_untouched(step: Pass, name: str) -> None:
    before = MODELS[name]()
    bytes_before = proto(before)
    step(before)
    assert proto(before) == bytes_before


@every_pair
def test_second_run_changes_nothing(step: Pass, name: str) -> None:
    once = step(MODELS[name]())
    twice = step(once.model)
    assert twice.changes == ()
    assert twice.model is once.model


@every_pair
def test_checker_passes_where_it_passed_before(step: Pass, name: str) -> None:
    before = MODELS[name]()
    if checks(before) is None:
        assert checks(step(before).model) is None


@every_pair
def test_no_changes_means_the_model_itself_and_changes_mean_another(step: Pass, name: str) -> None:
    before = MODELS[name]()
    result = step(before)
    assert (result.model is before) == (not result.changes)
    assert not result.changes or proto(result.model) != proto(before)


@every_pair
def test_every_change_and_refusal_says_where_and_why(step: Pass, name: str) -> None:
    result = step(MODELS[name]())
    assert all(change.where and change.what for change in result.changes)
    assert all(refusal.where and refusal.reason for refusal in result.refusals)


@every_pair
def test_signature_stays(step: Pass, name: str) -> None:
    def names(model: ir.Model) -> list[list[str | None]]:
        return [[value.name for value in side] for side in (model.graph.inputs, model.graph.outputs)]

    before = MODELS[name]()
    assert names(step(before).model) == names(before)


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
