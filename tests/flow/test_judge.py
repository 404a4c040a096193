"""One graph against a limit: exact at the limit itself, and never fooled by NaN, zeros or a single column."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from deploycompress import data
from deploycompress import model as models
from deploycompress.flow.goal import Goal
from deploycompress.flow.judge import Judge, Remembered
from deploycompress.runtime.session import Session
from tests.zoo import model

SAMPLES = """
import numpy as np
ROWS = np.float32([[1, 0]] * 89 + [[0.1, 0]] + [[0, 1]] * 10)
def labelled():
    return [({"x": x}, 0) for x in ROWS]
def zeros():
    return [{"x": 0 * x} for x in ROWS]
"""


def net(body: str, columns: int = 2, **weights: np.ndarray) -> ir.Model:
    return model(f"g (float[N,2] x) => (float[N,{columns}] y) {{ {body} }}", **weights)


def shortfall(goal: Goal, folder: Path, before: ir.Model, after: ir.Model, samples: str = "labelled") -> float:
    (folder / "samples.py").write_text(SAMPLES)
    opened = data.open(f"{folder / 'samples.py'}:{samples}", models.signature(before))
    original, candidate = (Session(models.serialize(each)) for each in (before, after))
    return Judge(goal, Remembered(original), opened, None, goal.max_drop is None, ())(candidate).shortfall


# 90 of 100 are right; this turns the row of 0.1.
SAME, WORSE = net("y = Identity(x)"), net("y = Add(x, b)", b=np.float32([0, 0.5]))


@pytest.mark.parametrize(("max_drop", "met"), [(0.01, True), (0.7 / 100 + 0.003, True), (0.00999, False)])
def test_a_drop_of_one_point_is_within_one_point(tmp_path: Path, max_drop: float, met: bool) -> None:
    assert (shortfall(Goal(max_drop=max_drop), tmp_path, SAME, WORSE) <= 0) is met


def test_agreement_at_the_limit_meets_it(tmp_path: Path) -> None:
    assert shortfall(Goal(min_agreement=0.99), tmp_path, SAME, WORSE) == 0


@pytest.mark.parametrize("columns", [2, 1])
def test_a_model_that_gives_nan_agrees_with_nothing(tmp_path: Path, columns: int) -> None:
    before = net("y = MatMul(x, w)", columns, w=np.ones((2, columns), np.float32))
    body = "a = MatMul(x, w) s = ReduceMin<keepdims=1>(x) l = Sqrt(s) y = Add(a, l)"
    after = net(
        body.replace("(x)", "(d)").replace("s =", "d = Sub(x, h) s ="),
        columns,
        w=np.ones((2, columns), np.float32),
        h=np.float32(0.05),
    )
    assert shortfall(Goal(min_agreement=0.9), tmp_path, before, after) == 0.9


def test_a_single_column_is_judged_by_the_cosine(tmp_path: Path) -> None:
    weights = {"w": np.float32([[1], [1]])}
    before, after = net("y = MatMul(x, w)", 1, **weights), net("a = MatMul(x, w) y = Add(a, a)", 1, **weights)
    assert shortfall(Goal(min_agreement=0.5), tmp_path, before, after) == pytest.approx(-0.5)


def test_outputs_that_are_all_zero_are_alike_or_not(tmp_path: Path) -> None:
    one, two = net("y = ReduceMax<axes=[1]>(x)", 1), net("a = ReduceMax<axes=[1]>(x) y = Sub(a, a)", 1)
    assert shortfall(Goal(min_agreement=0.9), tmp_path, one, two) == 0.9
    assert shortfall(Goal(min_agreement=0.9), tmp_path, one, two, "zeros") == pytest.approx(-0.1)
