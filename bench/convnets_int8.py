"""ResNet-18-like, MobileNetV1 and V2, ResNet-20: our static int8 against every mode of ONNX Runtime's own tool.

    python bench/convnets_int8.py [NAME ...]

All forms of one model are timed in one interleaved run (one thread, CPU time of that thread), each against float and
ours against the best of theirs. 64 calibration images. Top-1 and agreement are counted on images that took no part in
calibration: all 500 of ImageNet, one half at a time, or 2,000 of CIFAR-10. ResNet-18-like has random weights:
its closeness to float ranks the forms, and says nothing about accuracy on a task. The peer is
`onnxruntime.quantization.quantize_static`, min-max, on the same graph with BatchNorm folded. The last table is the
limit: the rate of this machine's int8 matrix kernel against the float one.
"""

from __future__ import annotations

import argparse
import lzma
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import convnets
import numpy as np
from cpu_time import cpu_rounds
from onnxruntime import quantization
from onnxruntime.quantization import QuantFormat, QuantType
from optimize_table import ratio
from saturation import Reader, rewritten
from shared import MOBILENET, RESNET20, SHARED, WORK, cifar10_calibration, cifar10_evaluation, imagenet_half, markdown

from deploycompress import data, targets
from deploycompress import model as models
from deploycompress.data import Samples
from deploycompress.flow.arithmetic import peaks
from deploycompress.flow.quantize import quantize
from deploycompress.measurement.compare import judge
from deploycompress.records.measured import Comparison
from deploycompress.runtime.session import Session, SessionConfig

CONFIG = SessionConfig(threads=1)
TARGET = targets.load("server-cpu-avx2").model_copy(update={"threads": 1})
IMAGES = 64
OURS = "deploycompress"


@dataclass(frozen=True)
class Case:
    """A model, its pictures, and how many outputs stand before the first class."""

    name: str
    source: Callable[[Path], Path]
    preprocess: str | None
    parts: tuple[tuple[Callable[[], str], Callable[[], str]], ...]
    limit: int | None = None
    background: int = 0


def mobilenet_v2(folder: Path) -> Path:
    """The shared file, unpacked."""
    path = folder / "mobilenet_v2.onnx"
    path.write_bytes(lzma.decompress((SHARED / "models/imagenet/mobilenet_v2_1.0_224_fp32.onnx.xz").read_bytes()))
    return path


def half(number: int) -> Callable[[], str]:
    """A source of every second ImageNet picture."""
    return lambda: str(imagenet_half(number))


BOTH_WAYS = ((half(0), half(1)), (half(1), half(0)))
RANDOM = ((lambda: "random:64", lambda: "random:16"),)
CIFAR = ((lambda: str(cifar10_calibration()), lambda: str(cifar10_evaluation())),)
CASES = (
    Case("ResNet-18-like, 224x224", lambda _: convnets.exported("resnet-18"), None, RANDOM),
    Case("MobileNetV1-0.25, ImageNet", lambda _: MOBILENET, "minus-one-one", BOTH_WAYS),
    Case("MobileNetV2-1.0, ImageNet", mobilenet_v2, "minus-one-one", BOTH_WAYS, background=1),
    Case("ResNet-20, CIFAR-10", lambda _: RESNET20, "imagenet", CIFAR, limit=2000),
)
PEERS: dict[str, dict[str, object]] = {
    "default (S8S8 QDQ)": {},
    "U8S8 QDQ": {"activation_type": QuantType.QUInt8},
    "U8S8 QDQ, per channel": {"activation_type": QuantType.QUInt8, "per_channel": True},
    "U8S8 QDQ, per channel, reduce_range": {
        "activation_type": QuantType.QUInt8,
        "per_channel": True,
        "reduce_range": True,
    },
    "U8S8 QOperator, per channel": {
        "activation_type": QuantType.QUInt8,
        "per_channel": True,
        "quant_format": QuantFormat.QOperator,
    },
}


def main() -> None:
    """Prints the tables and keeps them in build/bench/convnets_int8.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="keep models whose name contains one of these")
    names = parser.parse_args().names
    rows: list[list[str]] = []
    for case in CASES:
        if not names or any(part in case.name for part in names):
            rows += measured(case)
            print(*rows[-len(PEERS) - 1 :], sep="\n", flush=True)
    headers = ["model", "form", "top-1", "same decision", "SQNR, dB", "bytes", "CPU ms", "speed", "ours against it"]
    limit = peaks(CONFIG)
    rates = [[f"{limit.float_gops:.0f}", f"{limit.int8_gops:.0f}", f"x{limit.int8_gops / limit.float_gops:.2f}"]]
    report = "\n\n".join(
        (markdown(headers, rows), markdown(["float, 1e9 operations/s", "int8, 1e9 operations/s", "ratio"], rates))
    )
    WORK.mkdir(parents=True, exist_ok=True)
    (WORK / "convnets_int8.md").write_text(report + "\n")
    print(report)


def measured(case: Case) -> list[list[str]]:
    """The rows of one model: float, ours, every peer."""
    with tempfile.TemporaryDirectory() as folder:
        source = case.source(Path(folder))
        prepared = Path(folder) / "float.onnx"
        models.save(rewritten(source), prepared)
        signature = models.signature(models.load(source))
        scores: dict[str, list[np.ndarray]] = {name: [] for name in ("float", OURS, *PEERS)}
        labels: list[float] = []
        paths: dict[str, Path] = {"float": source}
        for number, (calibration, evaluation) in enumerate(case.parts):
            made = {"float": source} | forms(case, source, prepared, calibration(), Path(folder), number)
            samples = data.open(evaluation(), signature, preprocess=case.preprocess, limit=case.limit)
            for name, path in made.items():
                scores[name].append(logits(path, samples))
            found = (s.label for s in samples)
            labels += [float(label) + case.background if isinstance(label, int) else np.nan for label in found]
            paths = paths if number else made
            first = next(iter(samples)).feed
        spent = cpu_rounds([Session(path, CONFIG) for path in paths.values()], first)
        column = {name: spent[:, position] for position, name in enumerate(paths)}
        reference = np.concatenate(scores["float"])
        return [
            row(case.name, name, np.concatenate(scores[name]), reference, np.array(labels), path, column)
            for name, path in paths.items()
        ]


def forms(case: Case, source: Path, prepared: Path, calibration: str, folder: Path, number: int) -> dict[str, Path]:
    """Ours and every peer, calibrated on 64 pictures."""
    made = {OURS: folder / f"ours.{number}.onnx"}
    result = quantize(
        source, made[OURS], calib=calibration, preprocess=case.preprocess, target=TARGET, limit=IMAGES, all_samples=True
    )
    print(f"{case.name}: {len(result.float_layers)} layers float, {result.int8_nodes} nodes int8", flush=True)
    samples = data.open(calibration, models.signature(models.load(prepared)), preprocess=case.preprocess, limit=IMAGES)
    for name, options in PEERS.items():
        made[name] = folder / f"peer.{len(made)}.{number}.onnx"
        quantization.quantize_static(prepared, made[name], Reader(samples), **options)
    return made


def logits(model: Path, samples: Samples) -> np.ndarray:
    """Scores [samples, classes] by this machine's kernels."""
    session = Session(model, CONFIG)
    name = session.signature.outputs[0].name
    return np.concatenate([session.run(batch.feed)[name] for batch in samples.batches(25)])


def row(
    case: str,
    name: str,
    found: np.ndarray,
    reference: np.ndarray,
    labels: np.ndarray,
    path: Path,
    spent: dict[str, np.ndarray],
) -> list[str]:
    """One line of the table."""
    decided = found.argmax(axis=-1)
    noise = float(np.sum((reference.astype(np.float64) - found) ** 2))
    is_float = name == "float"
    return [
        case,
        name if is_float or name == OURS else f"onnxruntime {name}",
        "" if np.isnan(labels).any() else f"{100 * np.mean(decided == labels):.1f}",
        "" if is_float else f"{100 * np.mean(decided == reference.argmax(axis=-1)):.1f} %",
        "" if is_float else f"{10 * np.log10(float(np.sum(reference.astype(np.float64) ** 2)) / noise):.1f}",
        f"{path.stat().st_size:,}",
        f"{np.median(spent[name]) / 1e6:.2f}",
        "" if is_float else ratio(against(spent["float"], spent[name])),
        "" if is_float or name == OURS else ratio(against(spent[name], spent[OURS])),
    ]


def against(before: np.ndarray, after: np.ndarray) -> Comparison:
    """Speed-up of `after` over `before` from the rounds of one run."""
    return judge(before, after)


if __name__ == "__main__":
    main()
