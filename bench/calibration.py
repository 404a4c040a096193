"""Calibration against ONNX Runtime's own, and against the bare inference it cannot do without -> Markdown tables.

    python bench/calibration.py [growth] [overhead] [peer] [minmax] [augment] [large]

Everything on one session thread. Memory is the peak resident size of a process of its own. Times are wall times of
interleaved rounds; CPU times stand beside them, because statistics are folded on a second thread.
"""

from __future__ import annotations

import argparse
import lzma
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from shared import MOBILENET, REPOSITORY, RESNET20, SHARED, WORK, cifar10_calibration, imagenet_half, markdown

from deploycompress import data, targets
from deploycompress import model as models
from deploycompress.calibration import collect
from deploycompress.calibration.taps import tap
from deploycompress.flow.source import open_source
from deploycompress.passes.pipelines import BEFORE_QUANTIZATION
from deploycompress.quantization.plan import channel_axes, required_tensors
from deploycompress.quantization.qdq import MIN_OPSET
from deploycompress.runtime.session import Session, SessionConfig

ONE_THREAD = SessionConfig(threads=1)
TARGET = targets.load("server-cpu-avx2")
ROUNDS = 7
TOKENS, VOCABULARY = 128, 30522
ENCODER = REPOSITORY / "build/exported/bert-dynamo-18-eager.onnx"


@dataclass(frozen=True)
class Subject:
    """A model as `quantize` calibrates it, with its samples."""

    name: str
    path: Path
    read: Callable[[int], Sequence[dict[str, Any]] | Any]

    def prepared(self) -> ir.Model:
        """The float graph whose tensors are observed."""
        model = models.raise_opset(open_source(self.path), MIN_OPSET)
        for step in BEFORE_QUANTIZATION:
            model = step(model).model
        return model


def images(path: Path, folder: Callable[[], Path], preset: str) -> Callable[[int], list[dict[str, Any]]]:
    """Reads so many feeds through the reader of the command line, as often as asked."""

    def read(count: int) -> list[dict[str, Any]]:
        signature = models.signature(models.load(path))
        opened = data.open(str(folder()), signature, preprocess=preset, limit=count)
        return [dict(sample.feed) for sample in opened]

    return read


def sentences(count: int) -> list[dict[str, np.ndarray]]:
    """Random token ids of full length."""
    ids = np.random.default_rng(0).integers(4, VOCABULARY, (count, 1, TOKENS))
    ones, zeros = np.ones((1, TOKENS), np.int64), np.zeros((1, TOKENS), np.int64)
    return [{"input_ids": each, "attention_mask": ones, "token_type_ids": zeros} for each in ids]


def mobilenet_v2() -> Path:
    """The packed model, unpacked once."""
    path = WORK / "mobilenet_v2.onnx"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        packed = SHARED / "models/imagenet/mobilenet_v2_1.0_224_fp32.onnx.xz"
        path.write_bytes(lzma.decompress(packed.read_bytes()))
    return path


def subjects() -> Iterator[Subject]:
    """An encoder and convolutional nets from small to large."""
    yield Subject("BERT-like 6x384, 1x128 tokens", ENCODER, sentences)
    if RESNET20.is_file():
        yield Subject("ResNet-20", RESNET20, images(RESNET20, cifar10_calibration, "imagenet"))
        for name, path in (("MobileNetV1-0.25", MOBILENET), ("MobileNetV2-1.0", mobilenet_v2())):
            yield Subject(name, path, images(path, lambda: imagenet_half(0), "minus-one-one"))


def calibrate(subject: Subject, model: ir.Model, samples: Sequence[dict[str, Any]], *, channels: bool = False) -> Any:  # noqa: ANN401
    """What `quantize` collects: a histogram of every tensor the plan needs."""
    return collect(
        model,
        required_tensors(model, TARGET),
        samples,
        weights_dir=models.weights_dir(model),
        config=ONE_THREAD,
        channel_axes=channel_axes(model) if channels else None,
    )


def bare(subject: Subject, samples: Sequence[dict[str, Any]]) -> None:
    """Opens the model and runs every sample."""
    session = Session(subject.path, ONE_THREAD)
    for feed in samples:
        session.run(feed)


def overhead() -> None:
    """Calibration against a bare loop over the same samples."""
    rows = []
    for subject in subjects():
        model, samples = subject.prepared(), subject.read(64)
        kinds: dict[str, Callable[[], Any]] = {
            "bare": lambda s=subject, x=samples: bare(s, x),  # type: ignore[misc]
            "histograms": lambda s=subject, m=model, x=samples: calibrate(s, m, x),  # type: ignore[misc]
            "and channels": lambda s=subject, m=model, x=samples: calibrate(s, m, x, channels=True),  # type: ignore[misc]
        }
        wall, cpu = interleaved(kinds)
        taps = len(required_tensors(model, TARGET))
        for kind in list(kinds)[1:]:
            ratios = [ours / theirs for ours, theirs in zip(wall[kind], wall["bare"], strict=True)]
            work = [ours / theirs for ours, theirs in zip(cpu[kind], cpu["bare"], strict=True)]
            rows.append(
                (
                    subject.name,
                    f"{taps} {kind}",
                    f"{np.median(wall['bare']):.2f} s",
                    f"x{np.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]",
                    f"x{np.median(work):.2f}",
                )
            )
    print(markdown(("model, 64 samples", "collected", "bare loop", "wall time (range)", "CPU time"), rows))


def interleaved(kinds: dict[str, Callable[[], Any]]) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Wall and CPU seconds of each kind, one of each a round."""
    wall: dict[str, list[float]] = {kind: [] for kind in kinds}
    cpu: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(ROUNDS):
        for kind, run in kinds.items():
            began, worked = time.perf_counter(), time.process_time()
            run()
            wall[kind].append(time.perf_counter() - began)
            cpu[kind].append(time.process_time() - worked)
    return wall, cpu


def growth() -> None:
    """Peak memory of 32 and of 1,024 samples."""
    rows = []
    for subject in subjects():
        few, many = (in_process("collect", subject.name, count) for count in (32, 1024))
        rows.append((subject.name, f"{few[1]:.0f} MB", f"{many[1]:.0f} MB", f"{many[1] - few[1]:+.0f} MB"))
    print(markdown(("model", "32 samples", "1,024 samples", "growth"), rows))


def peer() -> None:
    """64 sentences: ours against ONNX Runtime's entropy calibration, each as its quantizer calls it."""
    name = next(subjects()).name
    results = {kind: [in_process(kind, name, 64) for _ in range(3)] for kind in ("collect", "entropy")}
    base = in_process("open", name, 64)[1]
    rows = []
    for kind, label in (("collect", "deploycompress"), ("entropy", "onnxruntime entropy")):
        seconds, peak = np.median(results[kind], axis=0)
        rows.append((label, f"{seconds:.1f} s", f"{peak:.0f} MB", f"{peak - base:.0f} MB"))
    (ours, our_peak), (theirs, their_peak) = (np.median(results[kind], axis=0) for kind in ("collect", "entropy"))
    rows.append(("ratio", f"x{theirs / ours:.1f}", f"x{their_peak / our_peak:.1f}", ""))
    print(markdown(("BERT-like 6x384, 64 x 128 tokens", "CPU time", "peak memory", "above an open session"), rows))


def minmax() -> None:
    """Extremes against those of ONNX Runtime's MinMax calibration on the same taps and samples."""
    from onnxruntime.quantization import CalibrationMethod, create_calibrator

    rows = []
    for subject in subjects():
        model, samples = subject.prepared(), subject.read(32)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "float.onnx"
            models.save(model, path)
            calibrator = create_calibrator(
                path, ["Conv", "MatMul", "Gemm"], str(Path(folder) / "augmented.onnx"), CalibrationMethod.MinMax
            )
            calibrator.collect_data(Reader(samples))
            theirs = {
                n: [float(np.ravel(end)[0]) for end in d.range_value] for n, d in calibrator.compute_data().items()
            }
        produced = {str(value.name) for node in model.graph for value in node.outputs}
        names = [name for name in theirs if name in produced]
        unfused = SessionConfig(threads=1, optimization="none")
        for label, config in (("as they run it", unfused), ("as it is deployed", ONE_THREAD)):
            ours = collect(model, names, samples, weights_dir=models.weights_dir(model), config=config)
            worst = max(
                abs(mine - other) / max(abs(low), abs(high), 1e-30)
                for name, (low, high) in ((name, theirs[name]) for name in names)
                for mine, other in ((ours[name].low, low), (ours[name].high, high))
            )
            rows.append((subject.name, label, len(names), f"{worst:.1e}"))
    print(markdown(("model, 32 samples", "graph", "tensors", "largest difference, of the range"), rows))


class Reader:
    """Feeds as ONNX Runtime's calibrators take them."""

    def __init__(self, samples: Sequence[dict[str, Any]]) -> None:
        self._samples = iter(samples)

    def get_next(self) -> dict[str, Any] | None:
        """The next feed, or None."""
        return next(self._samples, None)


def augment() -> None:
    """Seconds to add every activation of a chain to the outputs."""
    rows = []
    for nodes in (100, 400, 1600, 3200):
        model = chain(nodes)
        names = [str(node.outputs[0].name) for node in model.graph]
        began = time.process_time()
        copy, taps = tap(model, names)
        ours = time.process_time() - began
        assert len(taps) == len(copy.graph.outputs) == nodes
        rows.append((nodes, f"{ours:.2f} s", f"{augmented_by_onnxruntime(model):.2f} s"))
    print(markdown(("nodes, all tapped", "deploycompress", "onnxruntime MinMax"), rows))


def augmented_by_onnxruntime(model: ir.Model) -> float:
    """CPU seconds of the same step there."""
    from onnxruntime.quantization import CalibrationMethod, create_calibrator

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chain.onnx"
        models.save(model, path)
        began = time.process_time()
        create_calibrator(path, ["Relu"], str(Path(folder) / "out.onnx"), CalibrationMethod.MinMax)
        return time.process_time() - began


def chain(nodes: int) -> ir.Model:
    """Relu after Relu."""
    value = first = ir.val("x", ir.DataType.FLOAT, [1, 4])
    made = []
    for index in range(nodes):
        node = ir.node("Relu", [value])
        value = node.outputs[0]
        value.name, value.type, value.shape = f"r{index}", first.type, first.shape
        made.append(node)
    graph = ir.Graph([first], [value], nodes=made, opset_imports={"": 17}, name="chain")
    return ir.Model(graph, ir_version=8)


def large() -> None:
    """A model of 3 GiB of external data: what calibration adds to the runtime's own memory."""
    seconds, peak = in_process("large", "", 4)
    _, opened = in_process("large-open", "", 4)
    rows = [("3.0 GiB", f"{opened:.0f} MB", f"{peak:.0f} MB", f"{seconds:.1f} s")]
    print(markdown(("weights", "one run, untouched", "calibrated, 4 samples", "CPU time"), rows))


def large_model(folder: Path) -> Path:
    """Six layers of 512 MiB, all in one external file with holes (zeros that take no disk)."""
    import onnx
    from onnx import TensorProto, helper

    rows, layers = 8192, 6
    columns = (512 << 20) // 4 // rows
    weights, nodes = [], []
    for layer in range(layers):
        tensor = TensorProto(name=f"w{layer}", data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
        tensor.dims.extend((rows, columns) if layer % 2 == 0 else (columns, rows))
        size = rows * columns * 4
        for key, value in (("location", "weights.bin"), ("offset", layer * size), ("length", size)):
            tensor.external_data.add(key=key, value=str(value))
        weights.append(tensor)
        nodes.append(helper.make_node("MatMul", [f"h{layer}", f"w{layer}"], [f"h{layer + 1}"]))
    with (folder / "weights.bin").open("wb") as file:
        file.truncate(layers * (512 << 20))
    graph = helper.make_graph(
        nodes,
        "large",
        [helper.make_tensor_value_info("h0", TensorProto.FLOAT, [1, rows])],
        [helper.make_tensor_value_info(f"h{layers}", TensorProto.FLOAT, [1, rows])],
        initializer=weights,
    )
    path = folder / "large.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def in_process(kind: str, name: str, count: int) -> tuple[float, float]:
    """CPU seconds and peak megabytes of one run of `work` in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--work", kind, name, str(count)], capture_output=True, text=True, check=True
    )
    seconds, peak = done.stdout.split()[-2:]
    return float(seconds), float(peak)


def work(kind: str, name: str, count: int) -> None:
    """One measured run; prints CPU seconds of the calibration and the peak memory of the process."""
    if kind.startswith("large"):
        with tempfile.TemporaryDirectory() as folder:
            path = large_model(Path(folder))
            samples = [{"h0": np.ones((1, 8192), np.float32)}] * count
            began = time.process_time()
            if kind == "large-open":
                Session(path, ONE_THREAD).run(samples[0])
            else:
                model = models.load(path)
                names = [str(node.outputs[0].name) for node in model.graph]
                collect(model, names, samples, weights_dir=models.weights_dir(model), config=ONE_THREAD)
            print(time.process_time() - began, peak_mb())
        return
    subject = next(each for each in subjects() if each.name == name)
    model = subject.prepared()
    stream = Cycle(subject.read(min(count, 32)), count)
    began = time.process_time()
    if kind == "collect":
        calibrate(subject, model, stream)
    elif kind == "entropy":
        entropy(subject, stream)
    else:
        Session(subject.path, ONE_THREAD)
    print(time.process_time() - began, peak_mb())


def entropy(subject: Subject, samples: Cycle) -> None:
    """ONNX Runtime's entropy calibration as `quantize_static` calls it: every operator that it can quantize."""
    from onnxruntime.quantization import CalibrationMethod, create_calibrator
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    with tempfile.TemporaryDirectory() as folder:
        calibrator = create_calibrator(
            subject.path,
            sorted({*QDQRegistry, *QLinearOpsRegistry}),
            str(Path(folder) / "augmented.onnx"),
            CalibrationMethod.Entropy,
        )
        calibrator.collect_data(Reader(samples))
        calibrator.compute_data()


class Cycle(Sequence[Any]):
    """`count` samples made of fewer, so that the samples themselves take no memory that grows."""

    def __init__(self, samples: Sequence[Any], count: int) -> None:
        self._samples, self._count = samples, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:  # noqa: ANN401
        if index >= self._count:
            raise IndexError(index)
        return self._samples[index % len(self._samples)]


def peak_mb() -> float:
    """Peak resident memory of this process, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


PARTS = {f.__name__: f for f in (growth, overhead, peer, minmax, augment, large)}


def main() -> None:
    """Prints the tables asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(arguments.work[0], arguments.work[1], int(arguments.work[2]))
        return
    if not ENCODER.is_file():
        from exported import exported  # torch: its memory must not stand in the processes that are measured

        exported("bert")
    for part in arguments.parts or PARTS:
        print(f"\n## {PARTS[part].__doc__}\n", flush=True)
        PARTS[part]()


if __name__ == "__main__":
    main()
