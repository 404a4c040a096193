"""What 16-bit pair sums cost on x86 without VNNI, what each remedy gives back, and what correcting biases does.

    python bench/saturation.py

Top-1, agreement and SQNR against float of five int8 forms of the same rewritten float model, run by the kernels of this
machine and once more as written, without fusion ("exact"): where the two differ, the kernels saturate. On a machine
with VNNI nothing saturates and the columns agree.

The peer is `onnxruntime.quantization.quantize_static`, QDQ, U8 activations, S8 weights per channel, min-max.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from onnxruntime import quantization
from shared import MOBILENET, RESNET20, WORK, cifar10_calibration, cifar10_evaluation, imagenet_half, markdown

from deploycompress import data, targets
from deploycompress import model as models
from deploycompress.calibration import collect
from deploycompress.data import Samples
from deploycompress.passes.pipelines import BEFORE_QUANTIZATION
from deploycompress.quantization.plan import channel_axes, plan, required_tensors
from deploycompress.quantization.qdq import emit_qdq
from deploycompress.runtime.session import Session, SessionConfig

CASES = (
    ("ResNet-20, CIFAR-10", RESNET20, "imagenet", cifar10_calibration, cifar10_evaluation, 2000),
    ("MobileNetV1-0.25, ImageNet", MOBILENET, "minus-one-one", lambda: imagenet_half(0), lambda: imagenet_half(1), 250),
)


class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
    """Feeds for the peer, one at a time."""

    def __init__(self, samples: Samples) -> None:
        self.feeds: Iterator[dict[str, Any]] = (sample.feed for sample in samples)

    def get_next(self) -> dict[str, Any] | None:
        """The next feed, or None at the end."""
        return next(self.feeds, None)


def rewritten(source: Path) -> ir.Model:
    """The float model after the exact rewrites, so that every form starts from the same graph."""
    model = models.load(source)
    for step in BEFORE_QUANTIZATION:
        model = step(model).model
    return model


def ours(model: ir.Model, target: str, calibration: Samples, *, correct: bool = True) -> Path:
    """The static form for a target, every layer in int8, with or without corrected biases."""
    profile = targets.load(target)
    found = collect(
        model,
        required_tensors(model, profile),
        (sample.feed for sample in calibration),
        channel_axes=channel_axes(model) if correct else None,
    )
    output = WORK / f"saturation.{target}.onnx" if correct else WORK / f"saturation.{target}.uncorrected.onnx"
    models.save(emit_qdq(model, plan(model, profile, found, method="mse")), output)
    return output


def peer(source: Path, calibration: Samples, *, reduce_range: bool) -> Path:
    """The form of ONNX Runtime's own tool."""
    output = WORK / f"saturation.peer{'.reduced' if reduce_range else ''}.onnx"
    quantization.quantize_static(
        source,
        output,
        Reader(calibration),
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        per_channel=True,
        reduce_range=reduce_range,
    )
    return output


def logits(model: Path, samples: Samples, *, fused: bool) -> np.ndarray:
    """Scores [samples, classes], by this machine's kernels or as written."""
    session = Session(model, SessionConfig(optimization="all" if fused else "none"))
    name = session.signature.outputs[0].name
    return np.concatenate([session.run(batch.feed)[name] for batch in samples.batches(25)])


def cells(found: np.ndarray, reference: np.ndarray, labels: np.ndarray) -> list[str]:
    """Top-1, agreement and SQNR against the float scores."""
    decided = found.argmax(axis=-1)
    noise = np.sum((reference.astype(np.float64) - found) ** 2)
    return [
        f"{100 * np.mean(decided == labels):.1f}",
        f"{100 * np.mean(decided == reference.argmax(axis=-1)):.1f} %",
        f"{10 * np.log10(np.sum(reference.astype(np.float64) ** 2) / noise):.1f}",
    ]


def main() -> None:
    """Prints the table and keeps it in build/bench/saturation.md."""
    WORK.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, source, preprocess, calibration_folder, evaluation_folder, limit in CASES:
        model = rewritten(source)
        float_path = WORK / "saturation.float.onnx"
        models.save(model, float_path)
        signature = models.signature(model)
        calibration = data.open(str(calibration_folder()), signature, preprocess=preprocess)
        samples = data.open(str(evaluation_folder()), signature, preprocess=preprocess, limit=limit)
        labels = np.array([sample.label for sample in samples])
        reference = logits(float_path, samples, fused=True)
        rows.append([name, "float", f"{100 * np.mean(reference.argmax(axis=-1) == labels):.1f}", *[""] * 5])
        forms = {
            "full range (server-cpu)": ours(model, "server-cpu", calibration),
            "pair-safe (server-cpu-avx2)": ours(model, "server-cpu-avx2", calibration),
            "pair-safe, biases not corrected": ours(model, "server-cpu-avx2", calibration, correct=False),
            "onnxruntime U8S8": peer(float_path, calibration, reduce_range=False),
            "onnxruntime U8S8, reduce_range": peer(float_path, calibration, reduce_range=True),
        }
        for form, path in forms.items():
            here, exact = (cells(logits(path, samples, fused=fused), reference, labels) for fused in (True, False))
            rows.append([name, form, *here, *exact])
    headers = ["model", "form", "top-1", "same decision", "SQNR, dB", "exact: top-1", "same decision", "SQNR, dB"]
    table = markdown(headers, rows)
    (WORK / "saturation.md").write_text(table + "\n")
    print(table)


if __name__ == "__main__":
    main()
