"""Weights in few bits: a 6 GB model in less memory than 1 GB; size, error and latency of every width and algorithm.

    python bench/weight_only.py [large] [stories] [encoder] [defaults]

The large model is made of random bytes in a temporary folder (it needs 14 GB of disk) and quantized by the command in a
fresh process, whose memory is read from the kernel: anonymous memory, and the peak of what was resident, which counts
pages of the mapped file that the kernel may drop at any time.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
from shared import SHARED, markdown

from deploycompress import model as models
from deploycompress import targets
from deploycompress.calibration import collect
from deploycompress.flow.source import open_source
from deploycompress.flow.weights import Weights
from deploycompress.measurement.compare import quick_compare
from deploycompress.passes.pipelines import BEFORE_QUANTIZATION
from deploycompress.quantization.plan import layer_inputs
from deploycompress.quantization.spec import Bits, Rounding, WeightSpec
from deploycompress.quantization.weight_only import weight_spec
from deploycompress.runtime.session import Feed, Session, SessionConfig

TARGET = targets.load("server-cpu-avx2")
LAYERS, WIDTH = 90, 4096  # 90 products of 64 MiB
ONE = SessionConfig(threads=1)
_ROUNDINGS: tuple[Rounding, ...] = ("nearest", "awq", "gptq", "adaround")
_BITS: tuple[Bits, ...] = (8, 4, 2)
_WIDTHS = [weight_spec(bits, 32, rounding=rounding) for bits in _BITS for rounding in _ROUNDINGS]
_SHAPES = [
    WeightSpec(4, block, symmetric=symmetric, rounding=rounding)
    for rounding in _ROUNDINGS[::2]
    for block in (16, 32, 64, 128, None)
    for symmetric in (False, True)
]


def main(wanted: Iterable[str]) -> None:
    """Prints the tables."""
    parts = {"large": large, "stories": stories, "encoder": encoder, "defaults": defaults}
    for name in tuple(wanted) or parts:
        parts[name]()


def large() -> None:
    """Time and memory of `quantize --no-run` on a 6 GB model, against copying it."""
    with tempfile.TemporaryDirectory(prefix="deploycompress-large-") as folder:
        source = Path(folder) / "large.onnx"
        _make_large(source)
        size = models.size_bytes(source)
        began = time.perf_counter()
        for file in (source, *models.data_files(source)):
            shutil.copy(file, Path(folder) / f"copy-{file.name}")
        copied_s = time.perf_counter() - began
        for file in Path(folder).glob("copy-*"):
            file.unlink()
        rows = [["copy", f"{copied_s:.1f}", "1.0", "", "", f"{size / 1e9:.2f}"]]
        for form in ("weights", "dynamic", "fp16"):
            target = Path(folder) / f"{form}.onnx"
            began = time.perf_counter()
            options = ["--form", form, "--no-run", "--target", TARGET.name, "--output", str(target)]
            anonymous, peak = _watched([sys.executable, "-m", "deploycompress", "quantize", str(source), *options])
            took_s = time.perf_counter() - began
            written = f"{models.size_bytes(target) / 1e9:.2f}"
            memory = [f"{anonymous / 1e6:.0f}", f"{peak / 1e6:.0f}"]
            rows.append([f"--form {form}", f"{took_s:.1f}", f"{took_s / copied_s:.1f}", *memory, written])
            for file in (target, *models.data_files(target)):
                file.unlink()
    headers = ["", "s", "of a copy", "anonymous memory, MB", "peak resident, MB", "GB"]
    print(markdown(headers, rows), flush=True)


def _watched(command: Sequence[str]) -> tuple[int, int]:
    """Runs a command; the most anonymous memory it was seen with, and its peak of resident memory, in bytes."""
    anonymous = peak = 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            found = dict(re.findall(r"(\w+):\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text()))
            anonymous = max(anonymous, 1024 * int(found.get("RssAnon", 0)))
            peak = max(peak, 1024 * int(found.get("VmHWM", 0)))
            time.sleep(0.01)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return anonymous, peak


def _make_large(path: Path) -> None:
    """A chain of products; each weight is another multiple of one random matrix, written one at a time."""
    drawn = np.random.default_rng(0).standard_normal((WIDTH, WIDTH), np.float32)
    x = ir.val("x", ir.DataType.FLOAT, ir.Shape(["N", WIDTH]))
    value, nodes, weights = x, [], []
    for layer in range(LAYERS):
        name = f"w{layer}"

        def scaled(name: str = name, factor: float = 1 + layer / LAYERS) -> ir.TensorProtocol:
            return ir.tensor(drawn * np.float32(factor), name=name)

        shape = ir.Shape([WIDTH, WIDTH])
        tensor = ir.LazyTensor(scaled, ir.DataType.FLOAT, shape, name=name)
        weights.append(ir.val(name, ir.DataType.FLOAT, shape, const_value=tensor))
        nodes.append(ir.node("MatMul", [value, weights[-1]]))
        value = nodes[-1].outputs[0]
        value.name, value.dtype, value.shape = f"y{layer}", ir.DataType.FLOAT, ir.Shape(["N", WIDTH])
    graph = ir.Graph([x], [value], nodes=nodes, initializers=weights, opset_imports={"": 21}, name="large")
    models.save(ir.Model(graph, ir_version=10), path, external_data=True, stamp=False)


@dataclass(frozen=True)
class Subject:
    """A model, what it is calibrated and measured on, and how far other outputs are from its own.

    Attributes:
        title: What it is called.
        measure: What the error is.
        floats: The float graph.
        calibration: Feeds for the second moments.
        feeds: One for the error, and two for latency, of 1 and 8 rows.
        error: Of outputs against those in float.
    """

    title: str
    measure: str
    floats: ir.Model
    calibration: list[Feed]
    feeds: list[Feed]
    error: Callable[[np.ndarray, np.ndarray], float]


def _divergence(expected: np.ndarray, got: np.ndarray) -> float:
    """Mean KL of next-token distributions, from logits."""
    shifted = (np.asarray(z - z.max(-1, keepdims=True), np.float64) for z in (expected, got))
    p, q = (z - np.log(np.exp(z).sum(-1, keepdims=True)) for z in shifted)
    return float((np.exp(p) * (p - q)).sum(-1).mean())


def _relative(expected: np.ndarray, got: np.ndarray) -> float:
    """RMS error over the spread."""
    return float(np.sqrt(np.mean((expected - got) ** 2)) / np.std(expected))


def _stories() -> Subject:
    """A small language model, on sequences it drew itself."""
    folder = SHARED / "data/text/stories_sampled_ids.npz"
    with np.load(folder) as file:
        ids = file[file.files[0]].astype(np.int64)
    floats = open_source(SHARED / "models/text/stories260K.onnx")
    calibration: list[Feed] = [{"input_ids": row[None]} for row in ids[:8]]
    feeds: list[Feed] = [{"input_ids": ids[8:]}, {"input_ids": ids[8:9, :1]}, {"input_ids": ids[8:9, :8]}]
    return Subject("stories260K", "KL from fp32", floats, calibration, feeds, _divergence)


def _gpt() -> Subject:
    """A decoder of 6 layers of 384 with random weights."""
    from exported import exported, feeds

    drawn = [feeds("gpt", *shape, seed=seed) for seed, shape in enumerate([(1, 64)] * 8 + [(4, 64), (1, 1), (1, 8)])]
    floats = open_source(exported("gpt"))
    return Subject("GPT-like", "RMS error / std", floats, drawn[:8], drawn[8:], _relative)


def stories() -> None:
    """Every width and algorithm: divergence of a small language model from float32."""
    _table(_stories(), _WIDTHS)


def defaults() -> None:
    """4 bits: the length of a block, and a fitted zero point against a symmetric grid."""
    _table(_stories(), _SHAPES)
    _table(_gpt(), [spec for spec in _SHAPES if spec.rounding == "nearest"])


def encoder() -> None:
    """An encoder of 6 layers of 384 with random weights: RMS error of the logits over their spread."""
    from exported import exported

    rng = np.random.default_rng(0)

    def feed(batch: int, length: int) -> dict[str, np.ndarray]:
        ids = rng.integers(0, 30522, (batch, length))
        given = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        return {name: array for name, array in given.items() if name in names}

    floats = open_source(exported("bert"))
    names = {str(value.name) for value in floats.graph.inputs}
    calibration = [feed(1, 128) for _ in range(8)]
    feeds: list[Feed] = [feed(8, 128), feed(1, 1), feed(1, 8)]
    _table(Subject("BERT-like", "RMS error / std", floats, calibration, feeds, _relative), _WIDTHS)


def _table(subject: Subject, specs: Iterable[WeightSpec]) -> None:
    floats, feeds = subject.floats, subject.feeds
    for step in BEFORE_QUANTIZATION:
        floats = step(floats).model
    plain = Session(models.serialize(floats), ONE)
    output = plain.signature.outputs[0].name
    expected = plain.run(feeds[0])[output]
    seen = collect(floats, [], subject.calibration, grams=layer_inputs(floats), config=ONE)
    rows = [["float32", "", "", f"{_kilobytes(floats)}", "0", "1.00", "1.00"]]
    for spec in specs:
        began = time.process_time()
        made = Weights(floats, TARGET, spec, statistics=seen)({}).model
        packed = Session(models.serialize(made), ONE)
        took_s = time.process_time() - began
        speedups = [quick_compare(plain, packed, feed).speedup for feed in feeds[1:]]
        grid = f"{spec.block or 'channel'}, {'symmetric' if spec.symmetric else 'fitted'}"
        error = subject.error(expected, packed.run(feeds[0])[output])
        row = [f"{spec.bits}-bit", grid, spec.rounding, f"{_kilobytes(made)}", f"{error:.4f}"]
        rows.append([*row, *(f"{speedup:.2f}" for speedup in speedups), f"{took_s:.0f}"])
    headers = [
        subject.title,
        "block, grid",
        "rounding",
        "kB of weights",
        subject.measure,
        "x fp32, M=1",
        "x fp32, M=8",
        "CPU s to make",
    ]
    print(markdown(headers, [row + [""] * (len(headers) - len(row)) for row in rows]), flush=True)


def _kilobytes(model: ir.Model) -> int:
    return sum(models.weight_bytes(model).values()) // 1000


if __name__ == "__main__":
    main(sys.argv[1:])
