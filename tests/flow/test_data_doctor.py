"""The checks that need the model: each fires on what it is for, and right data pass all of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from deploycompress import data, targets
from deploycompress import model as models
from deploycompress.errors import DataRejectedError
from deploycompress.flow.data_doctor import Examination, admit, examine
from deploycompress.flow.scale_check import information, scale_symptoms
from deploycompress.records.symptoms import Symptom
from deploycompress.runtime.session import SessionConfig
from tests.prototypes import CLASSES, classifier, pictures
from tests.zoo import model, normal

TARGET = targets.load("server-cpu-avx2").model_copy(update={"threads": 1})
CONFIG = SessionConfig(threads=1)


def examined(folder: Path, net: ir.Model | None = None, **arrays: np.ndarray) -> Examination:
    models.save(net or classifier(), folder / "net.onnx")
    np.savez(folder / "calib.npz", **arrays)
    return examine(folder / "net.onnx", str(folder / "calib.npz"), target=TARGET)


def checks(found: Examination) -> list[str]:
    return [symptom.check for symptom in found.symptoms]


def scale_of(folder: Path, net: ir.Model, x: np.ndarray) -> list[Symptom]:
    np.savez(folder / "calib.npz", x=x)
    samples = data.open(str(folder / "calib.npz"), models.signature(net))
    return list(scale_symptoms(net, samples, CONFIG))


def test_right_data_pass_in_silence(tmp_path: Path) -> None:
    x, y = pictures(64)
    found = examined(tmp_path, x=x, y=y)
    assert found.symptoms == ()
    assert found.accuracy is not None
    assert found.accuracy.value == 1.0
    (held,) = found.inputs
    exact = x.astype(np.float64)
    np.testing.assert_allclose((held.low, held.high, held.mean, held.std), (0, x.max(), exact.mean(), exact.std()))
    assert found.settling is not None


@pytest.mark.parametrize("times", [255, 1 / 255])
def test_values_on_another_scale_are_a_failure(tmp_path: Path, times: float) -> None:
    (symptom,) = scale_of(tmp_path, classifier(), (pictures(32)[0] * times).astype(np.float32))
    assert (symptom.check, symptom.severity) == ("values on another scale", "failure")
    assert ("larger" if times > 1 else "smaller") in symptom.found
    assert ("they look like 0..255" if times > 1 else "scale its input itself") in symptom.remedy


def test_network_whose_bias_is_negligible_decides_on_any_scale_and_is_left_alone(tmp_path: Path) -> None:
    # The ratio alone would call these 1,000 times too large; the decisions are no better when they are rescaled.
    net = classifier()
    bias = net.graph.initializers["b"]
    assert bias.const_value is not None
    bias.const_value = ir.tensor(bias.const_value.numpy() / 2000, name="b")
    assert scale_of(tmp_path, net, pictures(32)[0]) == []


def test_without_class_scores_the_ratio_alone_warns(tmp_path: Path) -> None:
    net = model(
        "g (float[N,3,8,8] x) => (float[N,4,6,6] y) { h = Conv(x, w, b) y = Relu(h) }",
        w=normal(4, 3, 3, 3),
        b=normal(4),
    )
    x = normal(16, 3, 8, 8)
    assert scale_of(tmp_path, net, x) == []
    (symptom,) = scale_of(tmp_path, net, 100 * x)
    assert symptom.severity == "warning"


def test_samples_of_one_class_say_nothing_about_decisions_and_the_ratio_alone_warns(tmp_path: Path) -> None:
    text = """g (float[N,3,8,8] x) => (float[N,2] y) {
        h = Conv(x, w, b) r = Relu(h) p = GlobalAveragePool(r) f = Flatten(p) y = Gemm(f, v, c) }"""
    weights = {"w": normal(4, 3, 3, 3), "b": normal(4), "v": normal(4, 2), "c": np.float32([1e6, 0])}
    net, x = model(text, **weights), normal(16, 3, 8, 8)
    assert scale_of(tmp_path, net, x) == []
    (symptom,) = scale_of(tmp_path, net, 100 * x)
    assert symptom.severity == "warning"
    x, y = pictures(64)  # a few noisy copies of one picture deviate little from their mean: no reason to speak
    assert scale_of(tmp_path, classifier(), x[y == 5]) == []


def test_random_samples_are_not_judged_by_their_scale(tmp_path: Path) -> None:
    net = classifier()
    assert list(scale_symptoms(net, data.open("random:16", models.signature(net)), CONFIG)) == []


def test_information_is_that_of_the_definition() -> None:
    sure = np.array([[9e2, 0, 0], [0, 9e2, 0], [0, 0, 9e2]])
    assert information(sure) == pytest.approx(np.log(3))
    assert information(np.array([[1.0, 2, 3]] * 5)) == pytest.approx(0)
    assert information(np.array([[0.5, 0.5], [1.0, 0.0]])) == pytest.approx(
        -(0.75 * np.log(0.75) + 0.25 * np.log(0.25)) - np.log(2) / 2
    )


def test_tensor_that_overflows_is_named_with_its_sample(tmp_path: Path) -> None:
    net = model(
        "g (float[N,8] x) => (float[N,2] y) { big = Exp(x) y = MatMul(big, w) }", w=np.abs(normal(8, 2)) + np.float32(1)
    )
    x = normal(10, 8)
    x[6, 1] = 1000
    found = examined(tmp_path, net, x=x)
    assert found.symptoms[0].check == "NaN or infinity inside the model"
    assert "tensor 'big' holds 1 NaN or infinite values" in found.symptoms[0].found
    assert "sample calib.npz[6]" in found.symptoms[0].where


def test_token_beyond_the_vocabulary_is_named(tmp_path: Path) -> None:
    net = model(
        "g (int64[N,S] ids) => (float[N,S,2] y) { e = Gather(t, ids) y = MatMul(e, w) }", t=normal(9, 4), w=normal(4, 2)
    )
    ids = np.random.default_rng(0).integers(0, 9, (10, 5))
    ids[3, 2] = 9
    found = examined(tmp_path, net, ids=ids)
    (symptom,) = [each for each in found.symptoms if each.severity == "failure"]
    assert symptom.check == "samples that do not run"
    assert "refuses 1 of 10 samples" in symptom.found
    assert "idx=9 must be within the inclusive range" in symptom.found
    assert symptom.where == "calib.npz[3]"


def test_batch_written_into_the_graph_is_told(tmp_path: Path) -> None:
    net = model(
        "g (float[N,6] x) => (float[A,B] y) { r = Reshape(x, s) y = MatMul(r, w) }",
        s=np.array([1, 6], np.int64),
        w=normal(6, 3),
    )
    found = examined(tmp_path, net, x=normal(12, 6))
    assert "batch baked in the file" in checks(found)


def test_one_decision_for_all_is_told(tmp_path: Path) -> None:
    x, _ = pictures(32)
    net = classifier()
    bias = net.graph.initializers["b"]
    assert bias.const_value is not None
    bias.const_value = ir.tensor(bias.const_value.numpy() + np.float32([1e3] + [0] * (CLASSES - 1)), name="b")
    (symptom,) = [each for each in examined(tmp_path, net, x=x).symptoms if each.check == "one decision for all"]
    assert symptom.found == "the float model gives class 0 to every one of 32 samples"


def test_labels_that_count_from_one_are_told(tmp_path: Path) -> None:
    x, y = pictures(64)
    assert "labels" in checks(examined(tmp_path, x=x, y=y + 1))
    found = examined(tmp_path, x=x[y > 0], y=y[y > 0] - 1).symptoms
    (symptom,) = [each for each in found if each.check == "labels that do not fit"]
    assert symptom.where == "its decision is the label +1 on 56 of them"
    assert symptom.remedy == "count the labels as the model does: add 1"


def test_classes_of_the_model_without_a_sample_are_told(tmp_path: Path) -> None:
    x, y = pictures(128)
    kept = y < CLASSES - 1
    assert checks(examined(tmp_path, x=x[kept], y=y[kept])) == ["absent classes"]


def test_evaluation_set_is_compared(tmp_path: Path) -> None:
    models.save(classifier(), tmp_path / "net.onnx")
    x, _ = pictures(64)
    np.savez(tmp_path / "calib.npz", x=x)
    for name, other, expected in (
        ("other", pictures(64, seed=1)[0], []),
        ("same", x[:8], ["overlap"]),
        ("dark", pictures(64, seed=1)[0] / 3, ["drift"]),
    ):
        np.savez(tmp_path / f"{name}.npz", x=other)
        found = examine(
            tmp_path / "net.onnx",
            str(tmp_path / "calib.npz"),
            target=TARGET,
            evaluation=str(tmp_path / f"{name}.npz"),
        )
        assert checks(found) == expected, name


def test_admission_refuses_with_one_line_and_can_be_overruled(tmp_path: Path) -> None:
    net = classifier()
    np.savez(tmp_path / "zeros.npz", x=np.zeros((9, 3, 8, 10), np.float32))
    samples = data.open(str(tmp_path / "zeros.npz"), models.signature(net))
    with pytest.raises(
        DataRejectedError, match=r"zeros\.npz: constant samples: 9 of 9 .* or accept them with --accept-data"
    ):
        admit(net, samples, CONFIG)
    notes = admit(net, samples, CONFIG, accept=True)
    assert notes[0].startswith("constant samples: 9 of 9")
