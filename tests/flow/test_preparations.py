"""Steps that let a float graph lose less in 8 bits: kept where they help, named where they do not, absent elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from deploycompress import data
from deploycompress import model as models
from deploycompress.flow.preparations import Prepared, prepare
from deploycompress.flow.quantize import quantize
from deploycompress.records.formats import Format
from deploycompress.runtime.session import SessionConfig
from tests.quantization.encoders import GELU_OUTLIER, WIDTH, block
from tests.quantization.nets import TARGET, residual_net, run
from tests.zoo import normal

CONFIG = SessionConfig(threads=1)


def samples(net: ir.Model, folder: Path, count: int = 256, shape: tuple[int, ...] = (WIDTH,)) -> data.Samples:
    np.savez(folder / "calibration.npz", x=normal(count, *shape))
    return data.open(str(folder / "calibration.npz"), models.signature(net))


def prepared(net: ir.Model, given: data.Samples | None, excluded: frozenset[str] = frozenset()) -> Prepared:
    return prepare(net, TARGET, given, excluded=excluded, method="mse", config=CONFIG, timed=None)


def test_both_steps_are_kept_where_both_kinds_of_outliers_are_planted(tmp_path: Path) -> None:
    net = block(norm_outlier=30.0, gelu_outlier=30.0)
    found = prepared(net, samples(net, tmp_path))
    assert [(step.name, step.kept) for step in found.steps] == [
        ("smoothing", True),
        ("side path", True),
        ("GPTQ", True),
    ]
    assert {layer.tensor for layer in found.layers} == {"n", "a", "y_smoothed"}
    assert list(found.sides) == ["a"]
    assert GELU_OUTLIER in found.sides["a"]
    x = normal(5, WIDTH, seed=9)
    for name, value in run(net, {"x": x}, "none").items():
        # Two exact rewrites in float32, gains and scales up to 30, sums of 96: 1e-5 of the largest value.
        np.testing.assert_allclose(run(found.floats, {"x": x}, "none")[name], value, atol=1e-5 * np.abs(value).max())


def test_a_step_that_does_not_help_is_taken_back_with_its_numbers(tmp_path: Path) -> None:
    net = block(norm_outlier=1.0)
    found = prepared(net, samples(net, tmp_path))
    step = found.steps[0]
    assert (step.name, step.kept) == ("smoothing", False)
    assert step.reason.startswith("taken back: error 0.0")
    assert found.floats is net


def test_a_net_without_a_place_for_them_is_not_even_run(tmp_path: Path) -> None:
    net = residual_net()

    class Unread(list[object]):
        """Samples that must not be looked at."""

        valid_for_accuracy = True

        def __len__(self) -> int:
            raise AssertionError("counted")

        def __getattr__(self, name: str) -> object:
            raise AssertionError(name)

    assert prepared(net, Unread()) == Prepared(net)  # type: ignore[arg-type]


@pytest.mark.parametrize(("count", "why"), [(None, "there are no samples"), (7, "there are 7 samples")])
def test_without_enough_samples_to_judge_on_they_are_left_out(tmp_path: Path, count: int | None, why: str) -> None:
    net = block()
    found = prepared(net, None if count is None else samples(net, tmp_path, count))
    assert {step.name: step.kept for step in found.steps} == {"smoothing": False, "side path": False}
    assert all(step.reason.endswith(why) for step in found.steps)
    assert found.floats is net


def test_layers_that_stay_float_are_not_prepared(tmp_path: Path) -> None:
    net = block()
    assert prepared(net, samples(net, tmp_path), frozenset({"h", "o", "z"})) == Prepared(net)


def test_quantize_prepares_by_default_and_the_file_is_closer(tmp_path: Path) -> None:
    net = block(norm_outlier=30.0, gelu_outlier=30.0)
    models.save(net, tmp_path / "float.onnx")
    samples(net, tmp_path)
    result = quantize(
        tmp_path / "float.onnx",
        tmp_path / "int8.onnx",
        target=TARGET,
        form=Format("static"),
        calib=str(tmp_path / "calibration.npz"),
        measure=False,
    )
    assert [step.kept for step in result.preparations] == [True, True, True]
    assert result.kernels.startswith("3 of 3 Gemm run as QGemm")
    assert result.fidelity.sqnr_db > 30  # 20 decibels without the two steps
