from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from deploycompress import targets
from deploycompress.errors import EnvironmentLacksError, InputRejectedError, ModelRejectedError, UsageError
from deploycompress.flow.bench import bench
from deploycompress.runtime.session import CPU, onnxruntime

AZURE = "AzureExecutionProvider"
CLASSES, WIDTH = 10, 32
QUICK = {"rounds": 8, "seconds": 0.05, "launches": 1, "threads": (1,)}

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a classifier x [N, 32] -> scores [N, 10]: one fixed matrix, `noise` on its weights, `extra` layers of
    work that change nothing (products with the identity)."""

    def make(name: str, *, noise: float = 0.0, extra: int = 0, input_name: str = "x", batch: str | int = "N") -> Path:
        rng = np.random.default_rng(0)
        weights = rng.normal(size=(WIDTH, CLASSES)).astype(np.float32)
        weights += noise * np.random.default_rng(1).normal(size=weights.shape).astype(np.float32)
        nodes, value = [], input_name
        for i in range(extra):
            nodes.append(helper.make_node("MatMul", [value, "identity"], [f"h{i}"]))
            value = f"h{i}"
        nodes.append(helper.make_node("MatMul", [value, "w"], ["scores"]))
        initializers = [numpy_helper.from_array(weights, "w")]
        if extra:
            initializers.append(numpy_helper.from_array(np.eye(WIDTH, dtype=np.float32), "identity"))
        graph = helper.make_graph(
            nodes,
            "classifier",
            [helper.make_tensor_value_info(input_name, TensorProto.FLOAT, [batch, WIDTH])],
            [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, CLASSES])],
            initializers,
        )
        path = tmp_path / f"{name}.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
        return path

    return make


@pytest.fixture
def samples(tmp_path: Path) -> tuple[str, Path, np.ndarray, np.ndarray]:
    """Sixty samples in a folder, a labels file, and both as arrays; the noiseless classifier gets 54 right."""
    folder = tmp_path / "samples"
    folder.mkdir()
    x = np.random.default_rng(2).normal(size=(60, WIDTH)).astype(np.float32)
    weights = np.random.default_rng(0).normal(size=(WIDTH, CLASSES)).astype(np.float32)
    labels = (x @ weights).argmax(axis=1)
    labels[:6] = (labels[:6] + 1) % CLASSES
    rows = []
    for index, (sample, label) in enumerate(zip(x, labels, strict=True)):
        np.savez(folder / f"{index:03}.npz", x=sample[None])
        rows.append(f"{index:03}.npz,{label}")
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    return str(folder), tmp_path / "labels.csv", x, labels


def test_accuracy_is_that_of_numpy_and_the_drop_is_paired(write: Write, samples: tuple) -> None:
    folder, labels_file, x, labels = samples
    report = bench([write("exact"), write("noisy", noise=0.3)], eval_data=folder, labels=labels_file, **QUICK)
    first, second = report.rows
    noisy = np.random.default_rng(0).normal(size=(WIDTH, CLASSES)).astype(np.float32)
    noisy += 0.3 * np.random.default_rng(1).normal(size=noisy.shape).astype(np.float32)
    right = (x.astype(np.float64) @ noisy.astype(np.float64)).argmax(axis=1) == labels
    assert first.accuracy is not None
    assert second.accuracy is not None
    assert (first.accuracy.value, first.accuracy.count, first.accuracy.drop) == (0.9, 60, None)
    assert second.accuracy.value == right.mean()
    assert second.accuracy.drop == pytest.approx(0.9 - right.mean())
    assert second.top5 is not None
    assert second.top5.value >= second.accuracy.value
    assert first.fidelity is None
    assert second.fidelity is not None
    assert 0 < second.fidelity.sqnr_db < 30
    assert report.data[0].role == "evaluation"
    assert report.data[0].samples == 60


def test_rows_tell_what_was_measured_and_where(write: Write) -> None:
    path, slow = write("plain"), write("slow", extra=30)
    report = bench([path, slow], command="deploycompress bench plain.onnx slow.onnx", **QUICK)
    plain, more = report.rows
    assert (plain.name, plain.status, plain.requested) == ("plain", "measured", CPU)
    assert plain.size_bytes == path.stat().st_size
    assert plain.comparison is None
    assert plain.placement is not None
    assert plain.placement.nodes == {CPU: 1}
    assert plain.placement.threads == report.settings.threads == 1
    assert more.smaller == pytest.approx(path.stat().st_size / slow.stat().st_size)
    assert more.placement is not None
    assert more.placement.nodes == {CPU: 31}
    assert more.comparison is not None
    assert more.comparison.speedup < 1
    assert report.command == "deploycompress bench plain.onnx slow.onnx"
    assert report.verdict.startswith("slow: ")


def test_random_inputs_are_stamped_and_give_no_accuracy(write: Write) -> None:
    report = bench([write("a"), write("b", noise=0.1)], **QUICK)
    assert [row.accuracy for row in report.rows] == [None, None]
    assert report.rows[1].fidelity is not None
    assert not report.data[0].valid_for_accuracy
    assert "inputs were random: latency may differ on real data" in report.notes


def test_same_file_twice_has_no_winner_and_two_names(write: Write) -> None:
    path = write("a", extra=10)
    report = bench([path, path], rounds=20, seconds=0.2, launches=4, threads=(1,))
    assert [row.name for row in report.rows] == ["a (1)", "a (2)"]
    assert report.rows[1].comparison is not None
    assert report.rows[1].comparison.verdict in ("NO DIFFERENCE", "TOO NOISY")
    assert report.rows[1].fidelity is not None
    assert report.rows[1].fidelity.max_abs == 0.0
    assert "no detectable difference" in report.verdict or "too noisy" in report.verdict


def test_provider_the_wheel_lacks_is_a_row_that_says_so(write: Write) -> None:
    report = bench([write("a"), write("b")], execution_providers=["cpu", "cuda"], **QUICK)
    on_cpu, on_cuda = report.rows[:2], report.rows[2:]
    assert all(row.measured for row in on_cpu)
    for row in on_cuda:
        assert row.status.startswith("not measured: the installed ONNX Runtime has no CUDAExecutionProvider (it has ")
        assert (row.latency, row.placement, row.accuracy, row.comparison) == (None, None, None, None)
        assert row.requested == "CUDAExecutionProvider"


def test_provider_the_wheel_lacks_is_an_error_when_strict(write: Write) -> None:
    with pytest.raises(EnvironmentLacksError, match="has no CUDAExecutionProvider"):
        bench([write("a")], execution_providers=["cuda"], strict=True, **QUICK)


def test_target_gives_providers_threads_and_budgets(write: Write) -> None:
    text = """
        name = "tiny"
        kind = "edge"
        summary = "a board"
        isa = "Armv8.0-A"
        providers = ["CPUExecutionProvider"]
        threads = 2
        max_opset = 21
        max_ir_version = 10
        opset_source = "test"
        [quant]
        int8 = false
        why = "test"
        [budget]
        size_bytes = 100
        memory_bytes = 1_000
        [roofline]
        source = "test"
    """
    target = targets.store.parse(text, where="tiny.toml")
    options = {name: value for name, value in QUICK.items() if name != "threads"}
    report = bench([write("a")], target=target, **options)
    assert report.target == "tiny"
    assert report.settings.threads == 2
    assert "over the size budget of tiny: 100 B" in report.rows[0].notes
    assert "over the memory budget of tiny: 1.00 kB" in report.rows[0].notes
    if report.environment.machine == "x86_64":
        assert "latency is that of this machine (x86_64), not of tiny (Armv8.0-A)" in report.notes


def test_gates_need_every_other_model(write: Write, samples: tuple) -> None:
    folder, labels_file, *_ = samples
    report = bench(
        [write("a"), write("b", noise=2.0)],
        eval_data=folder,
        labels=labels_file,
        require_speedup=5.0,
        max_drop=0.01,
        **QUICK,
    )
    speed, drop = report.gates
    assert not speed.met
    assert not drop.met
    assert not report.gates_met
    assert speed.name == "--require-speedup 5"
    assert drop.detail.startswith("b: drop ")


def test_models_with_other_inputs_are_refused_and_both_are_listed(write: Write) -> None:
    with pytest.raises(UsageError, match=r"a takes x: float32\[N, 32\]; b takes pixels: float32\[N, 32\]"):
        bench([write("a"), write("b", input_name="pixels")], **QUICK)


@pytest.mark.parametrize("models", [("fixed",), ("free", "fixed")])
def test_batch_that_a_model_does_not_take_is_refused_before_timing(write: Write, models: tuple[str, ...]) -> None:
    paths = [write(name, batch=1 if name == "fixed" else "N") for name in models]
    with pytest.raises(
        UsageError, match=r"(no batch of 4 samples can be made|fixed takes x: float32\[1, 32\]).*--batch 1"
    ):
        bench(paths, batches=(4,), **QUICK)


def test_batch_is_what_one_run_holds(write: Write) -> None:
    report = bench([write("a")], batches=(4,), **QUICK)
    assert report.rows[0].latency is not None
    assert report.rows[0].latency.batch_size == 4


def test_drop_limit_without_samples_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs labelled samples; add --eval"):
        bench([tmp_path / "does not exist.onnx"], max_drop=0.01)


def test_damaged_model_is_refused_by_name(tmp_path: Path, write: Write) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"\x00\x01\x02")
    with pytest.raises(ModelRejectedError, match=r"broken.onnx"):
        bench([write("a"), broken], **QUICK)


def test_labels_of_another_task_are_refused(write: Write, samples: tuple) -> None:
    folder, labels_file, *_ = samples
    labels_file.write_text(labels_file.read_text().replace(",0\n", ",10\n"))
    with pytest.raises(InputRejectedError, match="label 10 is no class of the model, which has 10"):
        bench([write("a")], eval_data=folder, labels=labels_file, **QUICK)


def test_sweep_has_a_row_for_every_model_and_setting(write: Write) -> None:
    report = bench([write("a"), write("b", extra=4)], batches=(2, 4), instances=(2,), **QUICK | {"threads": (1, 2)})
    assert [(row.name, row.batch, row.threads) for row in report.sweep] == [
        *(("a", 2, 1), ("b", 2, 1), ("a", 2, 2), ("b", 2, 2)),
        *(("a", 4, 1), ("b", 4, 1), ("a", 4, 2), ("b", 4, 2)),
    ]
    assert (report.settings.batch, report.settings.threads) == (2, 1)
    for row in report.sweep:
        assert row.latency is not None
        assert row.latency.batch_size == row.batch
        assert row.placement is not None
        assert row.placement.threads == row.threads
        assert (row.comparison is None) == (row.name == "a")
        assert [each.instances for each in row.throughput] == [2]
    assert report.rows[1].latency == report.sweep[1].latency


def test_one_setting_is_no_sweep(write: Write) -> None:
    assert bench([write("a")], **QUICK).sweep == ()


def test_provider_that_the_runtime_drops_is_labelled_by_the_one_that_ran(write: Write) -> None:
    if AZURE not in onnxruntime().get_available_providers():
        pytest.skip("this wheel has no provider that drops its nodes silently")
    report = bench([write("a"), write("b")], execution_providers=["azure"], **QUICK)
    for row in report.rows:
        assert row.requested == AZURE
        assert row.status == f"not measured: {AZURE} took none of the 1 nodes; they ran on CPU"
        assert (row.latency, row.comparison) == (None, None)
        assert row.placement is not None
        assert row.placement.effective == "CPU"
    with pytest.raises(EnvironmentLacksError, match="AzureExecutionProvider took none of the 1 nodes"):
        bench([write("a")], execution_providers=["azure"], strict=True, **QUICK)


def test_wheels_over_each_other_are_told_and_refused_when_strict(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "deploycompress.flow.bench.installed", lambda: {"onnxruntime": "1.31.1", "onnxruntime-gpu": "1.31.1"}
    )
    report = bench([write("a")], **QUICK)
    assert "onnxruntime and onnxruntime-gpu own the same folder" in report.notes[0]
    with pytest.raises(
        EnvironmentLacksError, match=r"own the same folder.*pip uninstall -y onnxruntime onnxruntime-gpu"
    ):
        bench([write("a")], strict=True, **QUICK)


def test_layers_are_measured_where_they_are_asked_for(write: Write) -> None:
    report = bench([write("a", extra=2), write("b", extra=2, noise=0.1)], layers=True, **QUICK)
    for row in report.rows:
        assert [layer.op_type for layer in row.layers] == ["MatMul"] * 3
    assert [len(row.layer_errors) for row in report.rows] == [0, 3]
    assert report.rows[1].layer_errors[-1].name == "scores"
    assert bench([write("a")], **QUICK).rows[0].layers == ()


def test_bytes_and_devices_are_in_every_report(write: Write) -> None:
    report = bench([write("a", extra=2)], **QUICK)
    assert report.rows[0].contents is not None
    assert report.rows[0].contents.bytes_by_dtype == {"float32": 4 * (WIDTH * CLASSES + WIDTH * WIDTH)}
    assert {row.kind for row in report.targets} == {"server", "mobile", "edge"}
