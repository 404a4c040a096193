"""The rule by which a step is kept or taken back."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir
import pytest

from deploycompress.flow.gate import Candidate, Gate, judge, run_step, run_steps
from deploycompress.passes import graph as g
from deploycompress.passes.base import Findings, PassResult
from deploycompress.passes.dead_code import RemoveDeadCode
from deploycompress.passes.fold_batchnorm import FoldBatchNormalization
from deploycompress.records.measured import Comparison, Interval
from deploycompress.runtime.session import Session, SessionConfig
from tests import zoo

FASTER = Comparison(1.2, Interval(1.1, 1.3), "FASTER", 20)
SLOWER = Comparison(0.8, Interval(0.7, 0.9), "SLOWER", 20)
SAME = Comparison(1.0, Interval(0.99, 1.01), "NO DIFFERENCE", 20)


def gate(model: ir.Model, *, measure: bool = False) -> tuple[Candidate, Gate]:
    rng = np.random.default_rng(0)
    shape = [d if isinstance(d, int) else 2 for d in model.graph.inputs[0].shape]
    feeds = tuple({model.graph.inputs[0].name: rng.standard_normal(shape).astype(np.float32)} for _ in range(2))
    empty = Gate(feeds, (), SessionConfig(threads=1), measure, budget_s=0.05)
    first = empty.open(model)
    return first, dataclasses.replace(empty, reference=tuple(first.session.run(feed) for feed in feeds))


@dataclass(frozen=True)
class NegateFirstWeight:
    """A rewrite that is wrong."""

    exact: ClassVar[bool] = True

    def __call__(self, model: ir.Model) -> PassResult:
        found, after = Findings(), model.clone()
        weight = after.graph.initializers["w"]
        weight.const_value = ir.tensor(-weight.const_value.numpy(), name="w")
        found.changed("w", "negated")
        return found.result(model, after)


@dataclass(frozen=True)
class DropRelu:
    """A rewrite that is wrong and saves a node."""

    exact: ClassVar[bool] = True

    def __call__(self, model: ir.Model) -> PassResult:
        found, after = Findings(), model.clone()
        relu = next(node for node in after.graph if node.op_type == "Relu")
        g.bypass(relu, relu.inputs[0])
        found.changed("y", "Relu removed")
        return found.result(model, after)


@dataclass(frozen=True)
class BreakGraph:
    """A rewrite whose result does not load, and is a byte smaller."""

    exact: ClassVar[bool] = True

    def __call__(self, model: ir.Model) -> PassResult:
        found, after = Findings(), model.clone()
        next(iter(after.graph)).op_type = "Cnv"
        found.changed("x", "renamed")
        return found.result(model, after)


@dataclass(frozen=True)
class AddWork:
    """Exact, smaller in bytes by a dropped name, and slower: the result passes through a large matrix product."""

    exact: ClassVar[bool] = True

    def __call__(self, model: ir.Model) -> PassResult:
        found, after = Findings(), model.clone()
        relu = next(iter(after.graph))
        big = g.add_initializer(after, after.graph, "eye", np.eye(1024, dtype=np.float32))
        product = ir.Node("", "MatMul", [relu.outputs[0], big], num_outputs=1)
        output, product.outputs[0].name = relu.outputs[0], "y"
        output.name = "h"
        product.outputs[0].type, product.outputs[0].shape = output.type, output.shape
        after.graph.append(product)
        after.graph.outputs[0] = product.outputs[0]
        found.changed("y", "multiplied by one")
        return found.result(model, after)


def test_step_that_shrinks_the_graph_is_kept_with_its_gains() -> None:
    first, rule = gate(zoo.conv_batchnorm())
    after, outcome = run_step(FoldBatchNormalization(), first, rule)
    assert outcome.kept
    assert outcome.reason.startswith("-1 nodes, ")
    assert (after.node_count, outcome.nodes_before, outcome.nodes_after) == (2, 3, 2)
    assert outcome.parameters == "FoldBatchNormalization()"


def test_step_that_changes_outputs_is_reverted_and_says_which() -> None:
    first, rule = gate(zoo.conv_batchnorm())
    after, outcome = run_step(NegateFirstWeight(), first, rule)
    assert after is first
    assert not outcome.kept
    assert outcome.reason.startswith("reverted: output 'y' differs by")


def test_step_whose_result_does_not_load_is_reverted_with_the_runtimes_reason() -> None:
    first, rule = gate(zoo.conv_batchnorm())
    after, outcome = run_step(BreakGraph(), first, rule)
    assert after is first
    assert "Cnv" in outcome.reason


@pytest.mark.parametrize("wrong", [DropRelu(), BreakGraph()])
def test_wrong_step_among_others_is_found_and_taken_back_alone_without_measuring(wrong: DropRelu | BreakGraph) -> None:
    model = zoo.conv_batchnorm()
    _, rule = gate(model)
    _, after, outcomes = run_steps((FoldBatchNormalization(), wrong), model, rule)
    assert [outcome.kept for outcome in outcomes] == [True, False]
    assert "no gain" not in outcomes[1].reason
    assert (after.node_count, rule.agrees(after.model)) == (2, True)


def test_steps_that_agree_are_compared_once_without_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    model = zoo.conv_batchnorm()
    _, rule = gate(model)
    opened = []
    session = Session.__init__
    monkeypatch.setattr(Session, "__init__", lambda self, *a, **k: opened.append(0) or session(self, *a, **k))
    _, after, outcomes = run_steps((FoldBatchNormalization(), RemoveDeadCode()), model, rule)
    assert [outcome.kept for outcome in outcomes] == [True, True]
    assert (after.node_count, len(opened)) == (2, 1)


@pytest.mark.parametrize("step", [NegateFirstWeight(), BreakGraph()])
def test_a_model_that_differs_or_does_not_load_does_not_agree(step: NegateFirstWeight | BreakGraph) -> None:
    first, judge_of = gate(zoo.conv_batchnorm())
    assert judge_of.agrees(first.model)
    assert not judge_of.agrees(step(first.model).model)


def test_step_without_changes_is_not_measured() -> None:
    first, rule = gate(zoo.matmul_add(), measure=True)
    after, outcome = run_step(FoldBatchNormalization(), first, rule)
    assert after is first
    assert (outcome.kept, outcome.reason, outcome.comparison) == (False, "found nothing to change", None)


def test_step_that_really_is_slower_is_reverted_by_measurement() -> None:
    first, rule = gate(zoo.model("g (float[64,1024] x) => (float[64,1024] y) { y = Relu(x) }"), measure=True)
    after, outcome = run_step(AddWork(), first, rule)
    assert after is first
    assert outcome.reason.startswith("reverted: SLOWER, x0.")


@pytest.mark.parametrize(
    ("nodes", "size", "comparison", "kept", "reason"),
    [
        (9, 100, SAME, True, "-1 nodes"),
        (9, 150, SAME, True, "-1 nodes, +50 bytes"),
        (10, 90, SAME, True, "-10 bytes"),
        (10, 90, None, True, "-10 bytes"),
        (10, 100, SAME, False, "reverted: no gain (+0 nodes, +0 bytes, no difference in speed)"),
        (11, 90, SAME, False, "reverted: no gain (+1 nodes, -10 bytes, no difference in speed)"),
        (11, 110, None, False, "reverted: no gain (+1 nodes, +10 bytes, speed not measured)"),
        (11, 110, FASTER, True, "FASTER, x1.20 [1.10, 1.30] of the speed before, +1 nodes, +10 bytes"),
        (1, 1, SLOWER, False, "reverted: SLOWER, x0.80 [0.70, 0.90] of the speed before"),
    ],
)
def test_rule(nodes: int, size: int, comparison: Comparison | None, kept: bool, reason: str) -> None:
    first, _ = gate(zoo.matmul_add())
    before = dataclasses.replace(first, node_count=10, size_bytes=100)
    after = dataclasses.replace(first, node_count=nodes, size_bytes=size)
    assert judge(before, after, None, comparison) == (kept, reason)
    assert judge(before, after, "output 'y' differs", comparison) == (False, "reverted: output 'y' differs")


def test_slower_needs_two_measurements_in_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    first, rule = gate(zoo.matmul_add(), measure=True)
    budgets = []

    def noisy(before: object, after: object, feed: object, *, budget_s: float) -> Comparison:
        budgets.append(budget_s)
        return SLOWER if len(budgets) == 1 else SAME

    monkeypatch.setattr("deploycompress.flow.gate.quick_compare", noisy)
    assert rule.compare(first.session, first.session) is SAME
    assert budgets == [0.05, 0.1]


@dataclass(frozen=True)
class RenameWeight:
    """A rewrite that saves neither nodes nor bytes."""

    exact: ClassVar[bool] = True

    def __call__(self, model: ir.Model) -> PassResult:
        found, after = Findings(), model.clone()
        weight = after.graph.initializers.pop("w")
        weight.name = "a_longer_name"
        after.graph.initializers.add(weight)
        found.changed("w", "renamed")
        return found.result(model, after)


@pytest.mark.parametrize(("second", "kept"), [(FASTER, True), (SAME, False)])
def test_step_that_can_only_gain_speed_is_measured_longer_before_it_is_taken_back(
    second: Comparison, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    budgets: list[float] = []

    def compared(before: Session, after: Session, feed: object, *, budget_s: float) -> Comparison:
        budgets.append(budget_s)
        return SAME if len(budgets) == 1 else second

    monkeypatch.setattr("deploycompress.flow.gate.quick_compare", compared)
    first, judging = gate(zoo.conv_batchnorm(), measure=True)
    _, outcome = run_step(RenameWeight(), first, judging)
    assert outcome.kept is kept
    assert budgets == [judging.budget_s, 4 * judging.budget_s]


def test_step_that_saves_nodes_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    budgets: list[float] = []

    def compared(before: Session, after: Session, feed: object, *, budget_s: float) -> Comparison:
        budgets.append(budget_s)
        return SAME

    monkeypatch.setattr("deploycompress.flow.gate.quick_compare", compared)
    first, judging = gate(zoo.conv_batchnorm(), measure=True)
    _, outcome = run_step(FoldBatchNormalization(), first, judging)
    assert outcome.kept
    assert budgets == [judging.budget_s]
