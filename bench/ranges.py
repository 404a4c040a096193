"""Four ways to choose ranges, and what ending calibration early costs: ResNet-20, MobileNetV1-0.25, stories260K.

    python bench/ranges.py

Every layer in int8 for server-cpu-avx2, calibrated on all samples and again until the ranges have settled; top-1,
agreement and SQNR against float on held-out samples. ImageNet is calibrated on one half and evaluated on the other,
both ways round. stories260K is calibrated on windows of 40 tokens of 12 stories and compared on 4 others, token by
token.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from saturation import rewritten
from shared import (
    MOBILENET,
    RESNET20,
    SHARED,
    WORK,
    cifar10_calibration,
    cifar10_evaluation,
    imagenet_half,
    markdown,
)

from deploycompress import data, targets
from deploycompress import model as models
from deploycompress.calibration.ranges import RANGE_METHODS, RangeMethod
from deploycompress.flow.gathering import FromSamples
from deploycompress.quantization.plan import plan, required_tensors
from deploycompress.quantization.qdq import emit_qdq
from deploycompress.records.progress import silent
from deploycompress.runtime.session import Session, SessionConfig

TARGET = targets.load("server-cpu-avx2")
CONFIG = SessionConfig(threads=1)
STORIES = SHARED / "models/text/stories260K.onnx"


@dataclass(frozen=True)
class Form:
    """One int8 form: how ranges were chosen, on how many of how many samples."""

    method: RangeMethod
    early: bool
    used: int
    available: int
    session: Session


def stories(part: str) -> Path:
    """Windows of 12 stories, or 4 whole others."""
    path = WORK / f"stories-{part}.npz"
    ids = np.load(SHARED / "data/text/stories_sampled_ids.npz")["ids"].astype(np.int64)
    windows = np.stack([row[start : start + 40] for row in ids[:12] for start in range(0, 121, 10)])
    np.savez(path, input_ids=windows if part == "calibration" else ids[12:])
    return path


def forms(source: Path, preprocess: str | None, calibration: Path) -> Iterator[Form]:
    """The int8 forms of a model."""
    model = rewritten(source)
    samples = data.open(str(calibration), models.signature(model), preprocess=preprocess)
    tensors = required_tensors(model, TARGET)
    everything = FromSamples(model, samples, CONFIG, None, silent)(tensors)
    for method in RANGE_METHODS:
        for early in (False, True):
            found = FromSamples(model, samples, CONFIG, method, silent)(tensors) if early else everything
            written = models.serialize(emit_qdq(model, plan(model, TARGET, found, method=method)))
            yield Form(method, early, found.samples, len(samples), Session(written, CONFIG))


def compared(
    source: Path, preprocess: str | None, evaluation: Path, made: list[Form]
) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    """Float scores, scores of every form, labels (NaN where there are none)."""
    reference = Session(source, CONFIG)
    samples = data.open(str(evaluation), reference.signature, preprocess=preprocess)
    name = reference.signature.outputs[0].name
    scores: list[list[np.ndarray]] = [[] for _ in (reference, *made)]
    labels: list[float] = []
    for batch in samples.batches(25):
        for kept, session in zip(scores, (reference, *(form.session for form in made)), strict=True):
            kept.append(session.run(batch.feed)[name])
        labels += [np.nan if label is None else label for label in batch.labels]
    whole = [np.concatenate(each) for each in scores]
    return whole[0], whole[1:], np.array(labels)


def main() -> None:
    """Prints both tables and keeps them in build/bench/ranges.md."""
    WORK.mkdir(parents=True, exist_ok=True)
    halves = imagenet_half(0), imagenet_half(1)
    cases = {
        "ResNet-20, CIFAR-10": [(RESNET20, "imagenet", cifar10_calibration(), cifar10_evaluation())],
        "MobileNetV1-0.25, ImageNet": [
            (MOBILENET, "minus-one-one", *halves),
            (MOBILENET, "minus-one-one", *halves[::-1]),
        ],
        "stories260K": [(STORIES, None, stories("calibration"), stories("evaluation"))],
    }
    rows: dict[bool, list[list[object]]] = {False: [], True: []}
    for name, parts in cases.items():
        made = [list(forms(source, preprocess, calibration)) for source, preprocess, calibration, _ in parts]
        seen = [compared(part[0], part[1], part[3], found) for part, found in zip(parts, made, strict=True)]
        reference, labels = np.concatenate([s[0] for s in seen]), np.concatenate([s[2] for s in seen])
        for number, form in enumerate(made[0]):
            found = np.concatenate([s[1][number] for s in seen])
            used = [f"{each[number].used} of {each[number].available}" for each in made]
            noise = np.sum((reference.astype(np.float64) - found) ** 2)
            top1 = "" if np.isnan(labels).any() else f"{100 * np.mean(found.argmax(-1) == labels):.2f}"
            cells = [
                top1,
                f"{100 * np.mean(found.argmax(-1) == reference.argmax(-1)):.1f} %",
                f"{10 * np.log10(np.sum(reference.astype(np.float64) ** 2) / noise):.1f}",
            ]
            rows[form.early].append([name, form.method, *([", ".join(used)] if form.early else []), *cells])
            print(*rows[form.early][-1], flush=True)
    headers = ["top-1", "same decision", "SQNR, dB"]
    tables = [
        markdown(["model", "ranges", *headers], rows[False]),
        markdown(["model", "ranges", "settled after", *headers], rows[True]),
    ]
    (WORK / "ranges.md").write_text("\n\n".join(tables) + "\n")
    print("\n\n".join(tables))


if __name__ == "__main__":
    main()
