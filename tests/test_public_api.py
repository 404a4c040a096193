"""The public functions are those of the flows, and importing the package pulls in nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

import deploycompress


@pytest.mark.parametrize("name", deploycompress.__all__)
def test_each_public_function_is_that_of_its_flow(name: str) -> None:
    function = getattr(deploycompress, name)
    assert function.__module__ == f"deploycompress.flow.{name}"
    assert function.__doc__


def test_an_unknown_attribute_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'quantise'"):
        deploycompress.quantise  # noqa: B018


HEAVY = {"numpy", "onnx", "onnx_ir", "onnxruntime", "pydantic", "torch", "rich", "transformers"}


@pytest.mark.parametrize("statement", ["import deploycompress", "import deploycompress.cli"])
def test_importing_pulls_in_nothing_heavy(statement: str) -> None:
    script = f"{statement}; import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stdout.split())


CORE = """
import sys
for name in ("torch", "transformers", "optimum", "accelerate", "safetensors", "sklearn"):
    sys.modules[name] = None  # an import of any of them fails
import deploycompress
for name in deploycompress.__all__:
    getattr(deploycompress, name)
"""


def test_the_core_imports_without_torch() -> None:
    subprocess.run([sys.executable, "-c", CORE], check=True)
