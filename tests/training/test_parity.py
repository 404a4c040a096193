"""The comparison with torch sees every kind of difference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from deploycompress.training.example import from_example
from deploycompress.training.parity import ParityError, compare, references, sizes_to_try

MODEL = """
<ir_version: 8, opset_import: ["" : 17]>
agraph (float[batch, 3] x) => (OUTPUT) { BODY }
"""


class Doubled(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2


def write(folder: Path, body: str, output: str = "float[batch, 3] y") -> Path:
    path = folder / "m.onnx"
    onnx.save(onnx.parser.parse_model(MODEL.replace("BODY", body).replace("OUTPUT", output)), path)
    return path


def check(path: Path, module: nn.Module | None = None, *, values: float = 1.0) -> float:
    inputs = from_example({"x": torch.full((2, 3), values)}, dynamic_batch=True)
    return compare(path, inputs, references(module or Doubled(), inputs)).max_rel


def test_equal_model_agrees(tmp_path: Path) -> None:
    assert check(write(tmp_path, "y = Add (x, x)")) == 0.0


@pytest.mark.parametrize(("factor", "agrees"), [(2.0001, True), (2.0004, False)])
def test_tolerance_is_one_in_ten_thousand(tmp_path: Path, factor: float, agrees: bool) -> None:
    path = write(tmp_path, f"c = Constant <value_float = {factor}> () y = Mul (x, c)")
    if agrees:
        assert 0 < check(path) <= 1e-4
    else:
        with pytest.raises(ParityError, match=r"for batch 2 output 'y' differs from torch by .* \(allowed .*\)"):
            check(path)


@pytest.mark.parametrize(
    ("body", "output", "message"),
    [
        ("y = Neg (x)", "float[batch, 3] y", "output 'y' differs from torch by"),
        ("y = Unsqueeze (x, x)", "float[batch, 3] y", "cannot load it|fails"),
        ("y = Cast <to = 11> (x)", "double[batch, 3] y", r"output 'y' is float64\[2, 3\], torch gives float32\[2, 3\]"),
        (
            "y = ReduceSum <keepdims = 1> (x)",
            "float[n, m] y",
            r"output 'y' is float32\[1, 1\], torch gives",
        ),
    ],
)
def test_differences_are_named(tmp_path: Path, body: str, output: str, message: str) -> None:
    with pytest.raises(ParityError, match=message):
        check(write(tmp_path, body, output))


def test_nan_on_one_side_alone_is_a_difference(tmp_path: Path) -> None:
    with pytest.raises(ParityError, match="differs from torch by inf"):
        check(write(tmp_path, "y = Log (x)"), values=-1.0)


class Integers(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.to(torch.int64)


def test_integers_must_be_equal(tmp_path: Path) -> None:
    output = "int64[batch, 3] y"
    check(write(tmp_path, "y = Cast <to = 7> (x)", output), Integers(), values=9.0)
    path = write(tmp_path, "c = Constant <value_int = 1> () i = Cast <to = 7> (x) y = Add (i, c)", output)
    with pytest.raises(ParityError, match=r"differs from torch by 1 \(allowed 0\)"):
        check(path, Integers(), values=9.0)


def test_sizes_hold_batches_the_example_does_not_have() -> None:
    inputs = from_example(torch.ones(4, 3), dynamic_batch=True)
    assert [sizes["batch"] for sizes in sizes_to_try(inputs)] == [4, 1, 2, 3, 5]


def test_outputs_are_compared_on_numbers_that_differ_between_samples() -> None:
    inputs = from_example(torch.ones(2, 3), dynamic_batch=True)
    for at in references(Doubled(), inputs):
        assert len(np.unique(at.outputs[0])) == at.outputs[0].size
