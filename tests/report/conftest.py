"""One report with everything in it, built by hand."""

from __future__ import annotations

import math

import pytest

from deploycompress.records.environment import Environment
from deploycompress.records.measured import (
    Accuracy,
    Comparison,
    Contents,
    Fidelity,
    Interval,
    Latency,
    LayerBytes,
    LayerError,
    LayerFigure,
    Placement,
    Throughput,
)
from deploycompress.records.report import DataSource, Gate, Report, Row, Settings, SkippedSample, SweepRow, TargetRow
from deploycompress.records.steps import Change, Refusal, StepOutcome

CPU = "CPUExecutionProvider"


def latency(median_ms: float) -> Latency:
    return Latency(
        median_ms=median_ms,
        median_interval=Interval(0.97 * median_ms, 1.02 * median_ms),
        p95_ms=1.3 * median_ms,
        p95_interval=Interval(1.2 * median_ms, 1.5 * median_ms),
        load_ms=12.0,
        first_run_ms=3 * median_ms,
        rounds=60,
        runs=240,
        batch_size=1,
        launches=5,
        min_ms=0.9 * median_ms,
        max_ms=2 * median_ms,
        p90_ms=1.2 * median_ms,
        p99_ms=1.6 * median_ms,
        drift=0.01,
    )


def row(name: str, median_ms: float, size_bytes: int, **fields: object) -> Row:
    placement = Placement((CPU,), {CPU: 34}, 1, {CPU: 1.0})
    given = {
        "name": name,
        "path": f"out/{name}.onnx",
        "sha256": "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef",
        "size_bytes": size_bytes,
        "download_bytes": int(0.8 * size_bytes),
        "status": "measured",
        "requested": CPU,
        "latency": latency(median_ms),
        "placement": placement,
        "peak_memory_bytes": 71_000_000,
        "model_memory_bytes": 11_000_000,
    }
    return Row.model_validate(given | fields)


@pytest.fixture
def report() -> Report:
    teacher = row("teacher", 1.31, 1_240_000, accuracy=Accuracy("top-1", 0.986, Interval(0.967, 0.994), 360))
    student = row(
        "student",
        0.412,
        241_000,
        smaller=1_240_000 / 241_000,
        comparison=Comparison(3.18, Interval(3.02, 3.31), "FASTER", 60),
        accuracy=Accuracy("top-1", 0.981, Interval(0.96, 0.991), 360, 0.0056, Interval(-0.006, 0.017), 3, 1, 0.625),
        fidelity=Fidelity(17.3, 3.1, 0.21, 0.983, 360, 0.991),
    )
    int8 = row(
        "student-int8",
        0.214,
        71_300,
        smaller=1_240_000 / 71_300,
        contents=Contents(
            {"int8": 60_000, "float32": 4_000},
            (LayerBytes("conv", "Conv", 50_000), LayerBytes("fc", "Gemm", 14_000)),
            128,
            0,
        ),
        layers=(
            LayerFigure("conv", "QLinearConv", "int8", 150.0, 1_000_000, 0.42),
            LayerFigure("dequantize", "DequantizeLinear", "conversion", 20.0),
            LayerFigure("fc", "MatMul", "float", 44.0, 2_000, 0.1, "its weight is stored as float"),
        ),
        layer_errors=(LayerError("conv", "Conv", 31.5), LayerError("logits", "Gemm", 17.0)),
        comparison=Comparison(6.12, Interval(5.7, 6.4), "FASTER", 60),
        accuracy=Accuracy("top-1", 0.978, Interval(0.957, 0.989), 360, 0.0083, Interval(-0.003, 0.02), 4, 1, 0.375),
        fidelity=Fidelity(16.8, 3.3, 0.23, 0.981, 360, 0.989),
        notes=("UNSTABLE: the times drifted by +8 % during the measurement",),
    )
    same = row(
        "copy",
        1.32,
        1_240_000,
        smaller=1.0,
        comparison=Comparison(0.998, Interval(0.97, 1.02), "NO DIFFERENCE", 60),
        fidelity=Fidelity(math.inf, 0.0, 0.0, 1.0, 360, 1.0),
    )
    absent = row(
        "gpu",
        1.0,
        1_240_000,
        smaller=1.0,
        latency=None,
        placement=None,
        peak_memory_bytes=None,
        model_memory_bytes=None,
        requested="CUDAExecutionProvider",
        status="not measured: the installed ONNX Runtime has no CUDAExecutionProvider (it has CPUExecutionProvider)",
    )
    step = StepOutcome(
        name="FoldBatchNormalization",
        parameters="FoldBatchNormalization()",
        kept=True,
        reason="fewer nodes, same outputs",
        nodes_before=41,
        nodes_after=34,
        bytes_before=251_000,
        bytes_after=241_000,
        comparison=Comparison(1.07, Interval(1.04, 1.1), "FASTER", 40),
        changes=(Change("conv1.out", "BatchNormalization folded into Conv"),),
        refusals=(Refusal("conv2.out", "weight is a graph input"),),
    )
    return Report(
        package_version="0.1.0",
        created="2026-11-21T12:00:00+00:00",
        command="deploycompress bench teacher.onnx student.onnx student-int8.onnx --eval digits/",
        target="server-cpu",
        environment=Environment(
            cpu="AMD EPYC 9R45",
            machine="x86_64",
            cpu_flags=("avx2", "avx512_vnni", "avx_vnni"),
            cpus=2,
            affinity=(0, 1),
            cgroup_cpus=1.5,
            threads=2,
            memory_bytes=8_000_000_000,
            governor=None,
            load_average=0.4,
            os="Linux 6.1",
            python="3.11.9",
            onnxruntime="1.31.1",
            providers=(CPU,),
            numpy="2.4.6",
        ),
        settings=Settings(batch=1, threads=1, rounds=30, seconds=3, launches=5),
        data=(
            DataSource(
                role="evaluation",
                source="digits/",
                fingerprint="ab12" * 16,
                samples=360,
                valid_for_accuracy=True,
                skipped=(SkippedSample(path="digits/notes.txt", reason="not an array file"),),
            ),
        ),
        steps=(step,),
        rows=(teacher, student, int8, same, absent),
        targets=tuple(
            TargetRow(target=target, kind=kind, model=name, **figures)  # type: ignore[arg-type]
            for target, kind, figures in (
                ("server-cpu", "server", {"status": "measured", "median_ms": 0.3}),
                ("mobile-arm64", "mobile", {"status": "not measured: no such device here"}),
                ("edge-arm64-dotprod", "edge", {"status": "estimated", "floor_ms": 0.002, "source": "the data sheet"}),
            )
            for name in ("teacher", "student")
        ),
        gates=(
            Gate(name="--require-speedup 1.1", met=True, detail="student: 3.18x (3.02 to 3.31) FASTER"),
            Gate(name="--max-drop 0.5%", met=False, detail="student-int8: drop 0.8 points (-0.3 to 2.0)"),
        ),
        verdict="student: 3.18x (3.02 to 3.31) faster, 5.15x smaller, accuracy drop 0.6 points (-0.6 to 1.7).\n"
        "student-int8: 6.12x (5.70 to 6.40) faster, 17.4x smaller, accuracy drop 0.8 points (-0.3 to 2.0).",
    )


@pytest.fixture
def swept(report: Report) -> Report:
    """The report with a sweep of two models over two settings, one of them with throughput."""
    rows = []
    for batch, sequence in ((1, None), (8, 128)):
        for number, name in enumerate(("teacher", "student")):
            faster = Comparison(3.0, Interval(2.9, 3.1), "FASTER", 60) if number else None
            rate = Throughput(4, 1280.0 * (1 + number), Interval(1240.0, 1310.0), 10, faster)
            rows.append(
                SweepRow(
                    name=name,
                    requested=CPU,
                    batch=batch,
                    sequence=sequence,
                    threads=2,
                    status="measured",
                    latency=latency(1.5 / (1 + number) * batch),
                    comparison=faster,
                    throughput=(rate,) if sequence else (),
                )
            )
    return report.model_copy(update={"sweep": tuple(rows)})
