"""ResNet-20 on CIFAR-10 and MobileNetV1-0.25 on ImageNet: float against static int8, through the public commands.

    python bench/classifiers.py          (make bench)

Calibration and evaluation images are disjoint. There are only 500 ImageNet images, so that model is calibrated on one
half and evaluated on the other, both ways round; its row counts all 500. One thread.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from shared import MOBILENET, RESNET20, WORK, cifar10_calibration, cifar10_evaluation, imagenet_half, markdown


def deploycompress(*arguments: object) -> None:
    """Runs a public command and prints it."""
    command = ["deploycompress", *map(str, arguments)]
    print(f"$ {shlex.join(command)}", flush=True)
    subprocess.run([sys.executable, "-m", *command], check=True)


def measured(model: Path, preprocess: str, calibration: Path, evaluation: Path, tag: str) -> list[dict[str, Any]]:
    """Rows of the report: the float model and its int8 form."""
    int8, report = WORK / f"{model.stem}.{tag}.int8.onnx", WORK / f"{model.stem}.{tag}.json"
    deploycompress("quantize", model, "-o", int8, "--calib", calibration, "--preprocess", preprocess)
    deploycompress(
        *("bench", model, int8, "--eval", evaluation, "--preprocess", preprocess, "--threads", 1),
        *("--json", report, "--html", report.with_suffix(".html"), "--markdown", report.with_suffix(".md")),
    )
    return list(json.loads(report.read_text())["rows"])


def row(name: str, parts: list[list[dict[str, Any]]]) -> list[object]:
    """One line of the table; accuracy over all parts, sizes and speed of the first."""
    before, after = parts[0]
    count = sum(part[0]["accuracy"]["count"] for part in parts)
    fp32, int8 = (
        sum(part[i]["accuracy"]["value"] * part[i]["accuracy"]["count"] for part in parts) / count for i in (0, 1)
    )
    agreement = sum(part[1]["fidelity"]["agreement"] * part[1]["fidelity"]["count"] for part in parts) / count
    speed = after["comparison"]
    interval = speed["interval"]
    return [
        name,
        f"{100 * fp32:.2f}",
        f"{100 * int8:.2f}",
        f"{100 * (fp32 - int8):.2f}",
        f"{100 * agreement:.1f} %",
        count,
        f"{before['size_bytes']:,}",
        f"{after['size_bytes']:,}",
        f"{before['latency']['median_ms']:.3f}",
        f"{after['latency']['median_ms']:.3f}",
        f"x{speed['speedup']:.2f} [{interval['low']:.2f}, {interval['high']:.2f}] {speed['verdict']}",
    ]


def main() -> None:
    """Prints the table and keeps it in build/bench/classifiers.md."""
    WORK.mkdir(parents=True, exist_ok=True)
    resnet = [measured(RESNET20, "imagenet", cifar10_calibration(), cifar10_evaluation(), "all")]
    halves = [imagenet_half(0), imagenet_half(1)]
    mobilenet = [
        measured(MOBILENET, "minus-one-one", calibration, evaluation, f"half{number}")
        for number, (calibration, evaluation) in enumerate(((halves[0], halves[1]), (halves[1], halves[0])))
    ]
    headers = ["model", "fp32 top-1", "int8 top-1", "points lost", "same decision", "images"]
    headers += ["fp32 bytes", "int8 bytes", "fp32 ms", "int8 ms", "speed"]
    table = markdown(headers, [row("ResNet-20, CIFAR-10", resnet), row("MobileNetV1-0.25, ImageNet", mobilenet)])
    (WORK / "classifiers.md").write_text(table + "\n")
    print(table)


if __name__ == "__main__":
    main()
