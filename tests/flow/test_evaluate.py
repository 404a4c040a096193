"""Metric, drop, flips and per-output figures of models made here, against numpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from deploycompress import data
from deploycompress.errors import UnsupportedError, UsageError
from deploycompress.flow.bench import bench
from deploycompress.flow.evaluate import Evaluation, check_metric, evaluate
from deploycompress.measurement.metrics.choice import named
from deploycompress.runtime.session import Session, SessionConfig

WIDTH, CLASSES, COUNT = 8, 3, 50
WEIGHTS = np.random.default_rng(0).normal(size=(WIDTH, CLASSES)).astype(np.float32)
NOISE = 0.4 * np.random.default_rng(1).normal(size=WEIGHTS.shape).astype(np.float32)
X = np.random.default_rng(2).normal(size=(COUNT, WIDTH)).astype(np.float32)
DATA = """
import numpy as np
X = np.load(__file__.replace("samples.py", "x.npy"))
Y = np.load(__file__.replace("samples.py", "y.npy"))
def labelled():
    return [({"x": x}, int(y)) for x, y in zip(X, Y)]
def real():
    return [({"x": x}, float(x.sum())) for x in X]
def arrays():
    return [({"x": x}, x[:3].astype(np.float32)) for x in X]
def unlabelled():
    return [{"x": x} for x in X]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classifiers with two outputs (scores [N, 3] and mean [N, 1]) and code that makes samples of each kind."""
    for name, weights in (("exact", WEIGHTS), ("noisy", WEIGHTS + NOISE)):
        graph = helper.make_graph(
            [
                helper.make_node("MatMul", ["x", "w"], ["scores"]),
                helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1], keepdims=1),
            ],
            name,
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", WIDTH])],
            [
                helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", CLASSES]),
                helper.make_tensor_value_info("mean", TensorProto.FLOAT, ["N", 1]),
            ],
            [numpy_helper.from_array(weights, "w")],
        )
        onnx.save(
            helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
            tmp_path / f"{name}.onnx",
        )
    labels = (X @ WEIGHTS).argmax(axis=1)
    labels[:5] = (labels[:5] + 1) % CLASSES
    labels[5] = (X @ (WEIGHTS + NOISE))[5].argmax()  # the noisy one gains this sample before it loses others
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", labels)
    (tmp_path / "samples.py").write_text(DATA)
    return tmp_path


def run(folder: Path, source: str, *, metric: str | None = None, output: str | None = None) -> tuple[Evaluation, ...]:
    sessions = [Session(folder / f"{name}.onnx", SessionConfig(threads=1)) for name in ("exact", "noisy")]
    samples = data.open(f"{folder}/samples.py:{source}", sessions[0].signature)
    return evaluate(sessions, samples, metric=None if metric is None else named(metric), output=output)


def test_flips_name_the_samples_that_numpy_finds(folder: Path) -> None:
    first, second = run(folder, "labelled")
    labels = np.load(folder / "y.npy")
    before, after = ((X @ w).argmax(axis=1) == labels for w in (WEIGHTS, WEIGHTS + NOISE))
    expected = [
        (number, "right to wrong" if before[number] else "wrong to right") for number in np.flatnonzero(before != after)
    ]
    assert [change for _, change in expected][:2] == ["wrong to right", "right to wrong"]
    found = [(int(flip.name.rpartition("[")[2].rstrip("]")), flip.change) for flip in second.flips]
    assert found == expected
    assert first.flips == ()
    assert second.accuracy is not None
    assert (second.accuracy.metric, second.accuracy.value) == ("top-1", after.mean())
    assert second.accuracy.drop == pytest.approx(before.mean() - after.mean())
    assert [c.count for c in second.accuracy.classes] == np.bincount(labels, minlength=CLASSES).tolist()


def test_real_labels_and_one_number_a_sample_are_judged_by_pearson(folder: Path) -> None:
    first, _ = run(folder, "real", output="mean")
    assert first.accuracy is not None
    assert first.accuracy.metric == "pearson"
    assert first.accuracy.value == pytest.approx(1.0)  # the mean is the sum over eight


def test_array_labels_reach_the_metric(folder: Path) -> None:
    first, _ = run(folder, "arrays")
    assert first.accuracy is None
    assert first.notes == (
        "accuracy not measured: the labels are arrays; name a metric: psnr, nll, perplexity or your own",
    )
    with pytest.raises(UnsupportedError, match="references of uint8, or of float between 0 and 1"):
        run(folder, "arrays", metric="psnr")


def test_fidelity_is_told_by_output(folder: Path) -> None:
    _, second = run(folder, "unlabelled")
    assert second.accuracy is None
    assert second.fidelity is not None
    scores, mean = second.fidelity.outputs
    reference, found = (X.astype(float) @ w.astype(float) for w in (WEIGHTS, WEIGHTS + NOISE))
    expected = 10 * np.log10((reference**2).sum() / ((reference - found) ** 2).sum())
    assert (scores.name, mean.name) == ("scores", "mean")
    assert scores.sqnr_db == pytest.approx(expected, abs=1e-3)  # float32 products of eight terms: 1e-6 relative
    assert mean.sqnr_db == np.inf


def test_baseline_that_knows_nothing_is_pointed_out(folder: Path) -> None:
    labels = np.load(folder / "y.npy")
    np.save(folder / "y.npy", (labels + 1) % CLASSES)
    first, second = run(folder, "labelled")
    assert "no better than always answering class" in first.notes[0]
    assert second.notes == ()


@pytest.mark.parametrize(
    ("source", "metric", "error", "message"),
    [
        ("labelled", "f1", UnsupportedError, "there are more classes; use f1-macro"),
        ("real", "matthews", UnsupportedError, "matthews needs a class number for every sample"),
        ("unlabelled", "top-1", UsageError, "top-1 needs a label for every sample; give --labels"),
    ],
)
def test_metric_that_does_not_fit_is_refused(
    folder: Path, source: str, metric: str, error: type[Exception], message: str
) -> None:
    session = Session(folder / "exact.onnx", SessionConfig(threads=1))
    samples = data.open(f"{folder}/samples.py:{source}", session.signature)
    with pytest.raises(error, match=message):
        check_metric(session, samples, named(metric), None)


def test_bench_reports_the_metric_that_was_asked_for(folder: Path) -> None:
    models, source = [folder / "exact.onnx", folder / "noisy.onnx"], f"{folder}/samples.py:labelled"
    report = bench(models, eval_data=source, metric="f1-macro", rounds=4, seconds=0.0, launches=2, threads=(1,))
    assert [row.accuracy.metric for row in report.rows if row.accuracy] == ["f1-macro", "f1-macro"]
    assert report.rows[1].flips
    assert "f1-macro drop" in report.verdict


def test_metric_without_samples_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the metric f1 needs labelled samples; add --eval"):
        bench([tmp_path / "does not exist.onnx"], metric="f1")
