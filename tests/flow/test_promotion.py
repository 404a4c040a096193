"""A limit on accuracy with weights in few bits: the layer that codes ruin gets wider ones before it becomes float."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from deploycompress.cli.quantized import print_result
from deploycompress.flow.goal import Goal
from deploycompress.flow.quantized import QuantizeResult
from deploycompress.records.formats import Format
from tests.flow.test_keeping import quantize, saved
from tests.quantization.test_weight_only import TARGET
from tests.zoo import model, normal

WIDTH = 64
SAMPLES = f"""
import numpy as np
def drawn(seed):
    return [{{"x": x}} for x in np.random.default_rng(seed).normal(size=(64, {WIDTH})).astype(np.float32)]
def calibration():
    return drawn(1)
def evaluation():
    return drawn(2)
"""


def four_levels(seed: int) -> np.ndarray:
    """A weight that 2-bit codes with a fitted zero point hold exactly."""
    return (np.random.default_rng(seed).integers(-1, 3, (WIDTH, WIDTH)) / 8).astype(np.float32)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Three layers: 2 bits hold two of them exactly, and ruin the one in the middle."""
    (tmp_path / "samples.py").write_text(SAMPLES)
    net = model(
        f"""g (float[N,{WIDTH}] x) => (float[N,{WIDTH}] y) {{
            a = MatMul(x, wa) r = Relu(a) b = MatMul(r, wb) s = Relu(b) y = MatMul(s, wc) }}""",
        wa=four_levels(0),
        wb=normal(WIDTH, WIDTH, seed=1),
        wc=four_levels(2),
    )
    return saved(net, tmp_path)


def promoted(source: Path, form: Format, least: float, budget_s: float = 300.0) -> QuantizeResult:
    code = source.with_name("samples.py")
    goal = Goal(min_agreement=least, eval_data=f"{code}:evaluation", budget_s=budget_s)
    calib = f"{code}:calibration" if form.calibrates else None
    output = source.with_name("few.onnx")
    return quantize(source, output, target=TARGET, form=form, calib=calib, goal=goal, measure=False)


@pytest.mark.parametrize(("least", "bits", "kind"), [(0.75, 4, "UINT4"), (0.95, 8, "INT8")])
@pytest.mark.parametrize("algorithm", ["nearest", "gptq"])
def test_the_layer_that_2_bits_ruin_alone_is_promoted(
    source: Path, algorithm: str, least: float, bits: int, kind: str
) -> None:
    result = promoted(source, Format("weights", bits=2, algorithm=algorithm), least)  # type: ignore[arg-type]
    assert result.goal is not None
    assert (result.goal.met, result.goal.promoted, result.goal.float_layers) == (True, {"b": bits}, ())
    planned = {node.node: node for node in result.nodes}
    assert {name: node.weight.bits for name, node in planned.items() if node.weight} == {"a": 2, "b": bits, "y": 2}
    assert planned["b"].reason.startswith(f"promoted to {bits} bits for accuracy: alone ")
    assert planned["a"].reason.startswith("2-bit weights")
    # The file says so too, and ONNX Runtime dequantizes none of the three on a run.
    stored = {name: str(value.dtype) for name, value in ir.load(result.output).graph.initializers.items()}
    kinds = {name.removesuffix("_quantized"): kind for name, kind in stored.items() if name.endswith("_quantized")}
    assert kinds == {"wa": "UINT2", "wb": kind, "wc": "UINT2"}
    assert result.weights_dequantized == 0
    # The steps of a layer are in order of width, however little a wider code seems to bring.
    steps = [(step.width, step.wider) for step in result.goal.order if step.node == "a"]
    assert steps == [(None, 4), (4, 8), (8, 32)]
    # No trial was asked twice, though several sets of steps give the same widths.
    tried = [tuple(sorted(trial.widths.items())) for trial in result.goal.trials]
    assert len(tried) == len(set(tried))


def test_a_layer_that_the_widest_codes_cannot_hold_becomes_float(source: Path) -> None:
    result = promoted(source, Format("weights", bits=8), 1.01)  # more than all: every step is considered
    assert result.goal is not None
    assert {(step.width, step.wider) for step in result.goal.order} == {(None, 32)}
    assert all(trial.promoted == {} for trial in result.goal.trials)
    assert result.goal.trials[1].float_layers != ()


def test_the_table_tells_how_many_layers_got_how_many_bits(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    said: list[str] = []
    print_result(promoted(source, Format("weights", bits=2), 0.95), said.append)
    assert any("promoted" in text and "1 to 4 bits" in text and "1 to 8 bits" in text for text in said)


def test_the_widest_of_the_steps_taken_counts_and_no_set_of_widths_is_tried_twice(source: Path) -> None:
    result = promoted(source, Format("weights", bits=2), 1.01)
    assert result.goal is not None
    # Doubling: 1, 2, 4, 8 of the 9 steps; the last of them would leave nothing quantized, and is not taken.
    assert [len(trial.widths) for trial in result.goal.trials[:3]] == [0, 1, 1]
    assert [trial.widths for trial in result.goal.trials[1:3]] == [{"b": 4}, {"b": 8}]
    assert all(len(trial.float_layers) < 3 for trial in result.goal.trials)
