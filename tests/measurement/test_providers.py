from __future__ import annotations

import pytest

from deploycompress.errors import UnknownNameError
from deploycompress.measurement.providers import fallback, lacking, mixed, resolve
from deploycompress.records.measured import Placement

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


@pytest.mark.parametrize("name", ["cuda", "CUDA", " cuda ", "CUDAExecutionProvider", "cudaexecutionprovider"])
def test_short_and_long_names_resolve(name: str) -> None:
    assert resolve(name) == CUDA


def test_unknown_provider_lists_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="unknown execution provider 'cudda'; did you mean cuda"):
        resolve("cudda")


def test_wheel_that_lacks_a_provider_says_what_it_has() -> None:
    assert lacking([CPU]) is None
    assert "has no NoneExecutionProvider (it has" in (lacking(["NoneExecutionProvider", CPU]) or "")


def test_row_that_ran_on_the_cpu_is_no_gpu_row() -> None:
    placement = Placement((CUDA, CPU), {CPU: 12}, 1, {CPU: 1.0})
    assert fallback(placement) == "CUDAExecutionProvider took none of the 12 nodes; they ran on CPU"
    assert fallback(Placement((CUDA,), {CUDA: 11, CPU: 1}, 1)) is None


def test_row_shared_between_providers_is_called_mixed() -> None:
    shared = Placement((CUDA,), {CUDA: 9, CPU: 3}, 1, {CUDA: 0.6, CPU: 0.4})
    assert mixed(shared) == "MIXED: 60 % of the kernel time on CUDA (9 nodes on CUDA, 3 nodes on CPU)"
    assert mixed(Placement((CUDA,), {CUDA: 9, CPU: 3}, 1, {CUDA: 0.95, CPU: 0.05})) is None
    assert mixed(Placement((CPU,), {CPU: 3}, 1, {CPU: 1.0})) is None
