from __future__ import annotations

from pathlib import Path

import pytest

from deploycompress.errors import UsageError
from deploycompress.flow.subjects import _names, subjects


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a.onnx", "b.onnx"], ["a", "b"]),
        (["x/model.onnx", "y/model.onnx", "z.onnx"], ["x/model", "y/model", "z"]),
        (["m.onnx", "m.onnx"], ["m (1)", "m (2)"]),
        (["p/x/m.onnx", "q/x/m.onnx", "y/m.onnx"], ["m (1)", "m (2)", "y/m"]),
    ],
)
def test_names_are_short_and_unique(paths: list[str], names: list[str]) -> None:
    assert _names([Path(path) for path in paths]) == names


def test_no_model_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="there is no model to measure"):
        subjects([])
