from __future__ import annotations

import pytest

from deploycompress import targets
from deploycompress.flow import devices
from deploycompress.flow.devices import floor, target_rows
from deploycompress.records.measured import Interval, Latency, LayerFigure
from deploycompress.records.report import Row

LATENCY = Latency(1.5, Interval(1.4, 1.6), 2.0, Interval(1.9, 2.1), 10.0, 3.0, 60, 240, 1)
LAYERS = (
    LayerFigure("a", "QLinearConv", "int8", 100.0, 913_000_000),
    LayerFigure("b", "MatMul", "float", 100.0, 239_000_000),
    LayerFigure("c", "Relu", "float", 5.0),
)


def row(provider: str = "CPUExecutionProvider", layers: tuple[LayerFigure, ...] = LAYERS, **fields: object) -> Row:
    given = {
        "name": "m",
        "path": "m.onnx",
        "sha256": "0",
        "size_bytes": 10,
        "status": "measured",
        "requested": provider,
    }
    return Row.model_validate(given | {"latency": LATENCY, "layers": layers} | fields)


def test_every_shipped_target_has_a_row_and_only_this_machine_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_this_machine", lambda: "server-cpu-avx2")
    found = {each.target: each for each in target_rows([row()])}
    assert tuple(found) == targets.names()
    assert [name for name, each in found.items() if each.status == "measured"] == ["server-cpu-avx2"]
    assert found["server-cpu-avx2"].median_ms == 1.5
    assert found["mobile-arm64"].status == "not measured: no such device here"
    assert found["server-cuda"].status == "not measured: no such device here"
    assert found["server-cpu"].status == "estimated"
    # One billionth of a second an operation at 1 GOP/s: 1 ms at the int8 rate and 1 ms at the float rate.
    assert found["server-cpu"].floor_ms == pytest.approx(2.0)
    assert "Zen 5" in found["server-cpu"].source


def test_a_gpu_target_is_measured_by_a_gpu_row_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_this_machine", lambda: "server-cpu")
    gpu = row("CUDAExecutionProvider", latency=Latency(**{**vars(LATENCY), "median_ms": 0.2}))
    found = {each.target: each for each in target_rows([row(), gpu])}
    assert (found["server-cuda"].status, found["server-cuda"].median_ms) == ("measured", 0.2)
    assert found["server-tensorrt"].status.startswith("not measured")
    fallen = row("CUDAExecutionProvider", status="not measured: it ran on CPU", latency=None)
    found = {each.target: each for each in target_rows([row(), fallen])}
    assert found["server-cuda"].status == "not measured: no such device here"
    assert found["server-cpu"].median_ms == 1.5


def test_without_operations_or_a_rate_there_is_no_estimate() -> None:
    assert floor(row(layers=()), targets.load("server-cpu")) is None
    assert floor(row(), targets.load("mobile-arm64")) is None
