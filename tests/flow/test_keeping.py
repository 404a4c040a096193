"""Limits on accuracy: the layer that does the harm becomes float, the best file is on disk whatever happens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import onnx_ir as ir
import pytest

from deploycompress.errors import DataRejectedError, UnknownNameError, UsageError
from deploycompress.flow.goal import Goal, gives_class_scores
from deploycompress.flow.quantized import QuantizeResult
from deploycompress.records.formats import Format
from deploycompress.runtime.session import Session
from tests.flow.test_quantize import TARGET, quantize, saved
from tests.zoo import model, normal

T = TypeVar("T")
WIDTH, CLASSES = 16, 5
SAMPLES = """
import numpy as np
def drawn(seed, count=128):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(count, 16)) * np.exp(rng.uniform(-5, 5, size=(count, 1)))
    return rows.astype(np.float32)
LABELS = np.load(__file__.replace("samples.py", "labels.npy"))
def calibration():
    return [{"x": x} for x in drawn(1)]
def evaluation():
    return [({"x": x}, int(y)) for x, y in zip(drawn(2), LABELS)]
def mixed():
    return [({"x": x}, 0) for x in [*drawn(1)[:4], *drawn(2)[:8]]]
def unlabelled():
    return [{"x": x} for x in drawn(2)]
"""


def scaled_net() -> ir.Model:
    """A layer on rows of very different sizes, which one scale for all of them ruins; two on normalized ones."""
    return model(
        f"""g (float[N,{WIDTH}] x) => (float[N,{CLASSES}] y) {{
            a = MatMul(x, wa)
            n = LayerNormalization<axis=-1>(a, one, zero)
            b = MatMul(n, wb)
            r = Relu(b)
            y = MatMul(r, wc) }}""",
        wa=normal(WIDTH, WIDTH),
        one=np.ones(WIDTH, np.float32),
        zero=np.zeros(WIDTH, np.float32),
        wb=normal(WIDTH, WIDTH, seed=1),
        wc=normal(WIDTH, CLASSES, seed=2),
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The net, and samples whose labels are its own decisions."""
    path = saved(scaled_net(), tmp_path)
    space: dict[str, Any] = {"__file__": str(tmp_path / "samples.py")}
    np.save(tmp_path / "labels.npy", np.zeros(0))
    exec(SAMPLES, space)
    np.save(tmp_path / "labels.npy", Session(path).run({"x": space["drawn"](2)})["y"].argmax(axis=1))
    (tmp_path / "samples.py").write_text(SAMPLES)
    return path


def kept(source: Path, goal: Goal, **options: Any) -> QuantizeResult:  # noqa: ANN401 - those of quantize
    code = source.with_name("samples.py")
    fields = {"eval_data": f"{code}:evaluation", **{k: v for k, v in vars(goal).items() if v is not None}}
    given = {"calib": f"{code}:calibration", "measure": False, **options}
    return quantize(source, source.with_name("int8.onnx"), target=TARGET, goal=Goal(**fields), **given)


def test_the_layer_that_does_the_harm_becomes_float(source: Path) -> None:
    result = kept(source, Goal(max_drop=0.02))
    assert result.goal is not None
    assert result.goal.met
    assert result.goal.float_layers == ("a",)
    assert result.goal.order[0].node == "a"
    reasons = {node.node: node.reason for node in result.nodes if node.form == "float"}
    assert list(reasons) == ["a"]
    assert reasons["a"].startswith("float for accuracy: alone quantized it leaves ")
    # Half of the rows are smaller than one step of the grid, so about half of the decisions are lost.
    assert result.goal.trials[0].shortfall > 0.2
    assert result.goal.baseline is not None
    assert result.goal.baseline.value == 1.0


def test_agreement_needs_no_labels(source: Path) -> None:
    code = source.with_name("samples.py")
    result = kept(source, Goal(min_agreement=0.97, eval_data=f"{code}:unlabelled"))
    assert result.goal is not None
    assert (result.goal.met, result.goal.float_layers) == (True, ("a",))
    assert result.goal.said.startswith("same decision on 9")


def test_agreement_on_the_calibration_samples_says_so(source: Path) -> None:
    options = {"calib": f"{source.with_name('samples.py')}:calibration", "measure": False}
    output = source.with_name("int8.onnx")
    result = quantize(source, output, target=TARGET, goal=Goal(min_agreement=0.5), **options)  # type: ignore[arg-type]
    assert result.goal is not None
    assert "agreement was measured on the calibration samples" in result.goal.notes[0]


def test_a_limit_that_no_model_meets_leaves_the_best_on_disk(source: Path) -> None:
    result = kept(source, Goal(min_agreement=1.01))  # more than all
    assert result.goal is not None
    assert not result.goal.met
    assert result.output.exists()
    best = min(result.goal.trials, key=lambda trial: trial.shortfall)
    assert result.goal.float_layers == best.float_layers != ()
    # The file is the graph of that trial: it decides as that one did.
    code: dict[str, Any] = {"__file__": str(source.with_name("samples.py"))}
    exec(SAMPLES, code)
    before, after = (Session(path).run({"x": code["drawn"](2)})["y"] for path in (source, result.output))
    assert (before.argmax(axis=1) == after.argmax(axis=1)).mean() == pytest.approx(1.01 - best.shortfall)


def test_an_interrupted_search_leaves_the_best_so_far(source: Path) -> None:
    def interrupted(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
        if description.startswith("trial 3"):
            raise KeyboardInterrupt
        yield from items

    result = kept(source, Goal(min_agreement=1.01), track=interrupted)
    assert result.goal is not None
    assert (result.goal.ended, len(result.goal.trials)) == ("interrupted", 2)
    assert result.goal.float_layers == ("a",)
    assert result.output.exists()


def test_a_spent_budget_ends_the_search(source: Path) -> None:
    result = kept(source, Goal(max_drop=0.02, budget_s=0.0))
    assert result.goal is not None
    assert (result.goal.met, result.goal.ended) == (False, "the budget of 0 s was spent")
    assert result.output.exists()


def test_dynamic_int8_keeps_a_limit_without_calibration(source: Path) -> None:
    result = kept(source, Goal(max_drop=0.0), calib=None, form=Format("dynamic"))
    assert result.goal is not None
    assert result.goal.trials


def test_the_calibration_samples_are_no_evaluation_samples(source: Path) -> None:
    code = source.with_name("samples.py")
    with pytest.raises(
        UsageError, match=r"--eval .*samples.py:calibration: the evaluation samples are the calibration"
    ):
        kept(source, Goal(min_agreement=0.9, eval_data=f"{code}:calibration"))


def test_shared_samples_are_remarked_on(source: Path) -> None:
    result = kept(source, Goal(max_drop=1.0, eval_data=f"{source.with_name('samples.py')}:mixed"))
    assert result.goal is not None
    assert any("overlap: 4 of 12 evaluation samples are calibration samples" in note for note in result.goal.notes)


def test_a_drop_on_unlabelled_samples_is_refused_before_calibration(source: Path) -> None:
    code = source.with_name("samples.py")
    with pytest.raises(UsageError, match=r"--max-drop cannot be measured on .*: the samples have no labels; give"):
        kept(source, Goal(max_drop=0.1, eval_data=f"{code}:unlabelled"))


def test_random_evaluation_samples_are_refused(source: Path) -> None:
    with pytest.raises(DataRejectedError, match="random samples say nothing about accuracy"):
        kept(source, Goal(min_agreement=0.9, eval_data="random:8"))


def test_a_misspelt_metric_names_the_nearest(source: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown metric 'top1'; did you mean top-1"):
        kept(source, Goal(max_drop=0.1, metric="top1"))


@pytest.mark.parametrize(
    ("goal", "message"),
    [
        (
            Goal(max_drop=0.1, min_agreement=0.9, eval_data="d"),
            "--max-drop and --min-agreement are two limits; leave one",
        ),
        (Goal(eval_data="d"), "evaluation samples need a limit; give --max-drop 1%"),
        (Goal(max_drop=0.1), "--max-drop needs labelled samples; add --eval DATA"),
        (Goal(min_agreement=0.9, metric="f1"), "--metric belongs to --max-drop"),
        (Goal(min_agreement=0.9, output="y"), "the output to judge belongs to --max-drop"),
    ],
)
def test_limits_that_contradict_are_refused(goal: Goal, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        goal.check()


def test_scores_are_told_from_hidden_states_and_feature_maps() -> None:
    assert gives_class_scores(scaled_net())
    states = model("g (float[N,4,8] x) => (float[N,4,8] y) { a = MatMul(x, w) y = Relu(a) }", w=normal(8, 8))
    assert not gives_class_scores(states)
    maps = model("g (float[N,3,8,8] x) => (float[N,4,6,6] y) { y = Conv(x, w) }", w=normal(4, 3, 3, 3))
    assert not gives_class_scores(maps)
    pooled = model("g (float[N,3,1,1] x) => (float[N,4] y) { a = Conv(x, w) y = Flatten(a) }", w=normal(4, 3, 1, 1))
    assert gives_class_scores(pooled)
    heads = model("g (float[N,2,4,8] x) => (float[N,2,4,8] y) { y = MatMul(x, w) }", w=normal(8, 8))
    assert not gives_class_scores(heads)
    probabilities = model(
        "g (float[N,8] x) => (float[N,4] y) { a = MatMul(x, w) s = Add(a, b) y = Softmax(s) }",
        w=normal(8, 4),
        b=normal(4),
    )
    assert gives_class_scores(probabilities)
