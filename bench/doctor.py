"""The data doctor on every shared model, with right preprocessing and wrong: false alarms and misses.

    python bench/doctor.py [MODEL ...]

Three tables: what it says about the scale of the inputs; how often it sees a drift between two random halves of one
set, and between a set and a changed copy; how far scales move with the number of samples.
"""

from __future__ import annotations

import lzma
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
from shared import MOBILENET, REPOSITORY, RESNET20, SHARED, WORK, cifar10_calibration, imagenet_half, markdown

from deploycompress import data, targets
from deploycompress import model as models
from deploycompress.data.comparison import drift
from deploycompress.flow.data_doctor import examine
from deploycompress.flow.data_scale import Moments, factors, meetings
from deploycompress.flow.observing import Tapped, observe
from deploycompress.flow.scale_movement import settling
from deploycompress.quantization.plan import required_tensors
from deploycompress.runtime.session import SessionConfig

TARGET = targets.load("server-cpu-avx2").model_copy(update={"threads": 1})
CONFIG = SessionConfig(threads=1)
SAMPLES = 24
TRIALS = 300
_WORDS = {"failure": "problem", "warning": "warning"}

PIXELS = {
    "(x/255 - mean) / std": "divisor: 255\nmean: [0.485, 0.456, 0.406]\nstd: [0.229, 0.224, 0.225]\nresize: stretch\n",
    "x/127.5 - 1": "divisor: 127.5\nmean: [1]\nresize: stretch\n",
    "(x - 127) / 128": "divisor: 128\nmean: [0.9921875]\nresize: stretch\n",
    "x/255": "divisor: 255\nresize: stretch\n",
    "x (0..255)": "resize: stretch\n",
    "x - 127": "mean: [127]\nresize: stretch\n",
    "x/255/255": "divisor: 65025\nresize: stretch\n",
}
GRAY = [name for name in PIXELS if "std" not in name]
RAW = "x (0..255)"


@dataclass(frozen=True)
class Case:
    """A model, its data, the preprocessing it was trained with, and all that are tried."""

    name: str
    model: Path
    source: str
    right: tuple[str, ...]
    tried: tuple[str, ...]
    labels: Path | None = None


def cases() -> Iterator[Case]:
    """Every shared model that takes what can be on a wrong scale, and those whose inputs cannot."""
    every, cifar, imagenet = tuple(PIXELS), str(cifar10_calibration()), str(imagenet_half(0))
    yield Case("ResNet-20", RESNET20, cifar, (every[0],), every)
    yield Case("MobileNetV1-0.25", MOBILENET, imagenet, (every[1], every[2]), every)
    yield Case("MobileNetV2", _mobilenet_v2(), imagenet, (every[1], every[2]), every, _labels_with_background())
    yield Case("UltraFace", SHARED / "models/detection/ultraface_rfb_320.onnx", imagenet, (every[1], every[2]), every)
    yield Case("FastestDet", SHARED / "models/detection/fastestdet_352.onnx", imagenet, ("x/255",), every)
    yield Case("super resolution", SHARED / "models/sr/super_resolution_x3.onnx", imagenet, ("x/255",), tuple(GRAY))
    yield Case("ResNet-20, normalizes inside", _normalizing(RESNET20), cifar, (RAW,), every)
    mnist, scaled = SHARED / "data/mnist/mnist_test5000.npz", _mnist_scaled()
    model = SHARED / "models/mnist/mnist_cntk_opset7.onnx"
    yield Case("mnist_cntk", model, str(mnist), ("x (0..255)",), ("x (0..255)",))
    yield Case("mnist_cntk", model, str(scaled), (), ("x/255/255",))
    feeds = REPOSITORY / "bench/recordings.py"
    gtcrn = SHARED / "models/audio/gtcrn_unsimplified.onnx"
    yield Case("gtcrn", gtcrn, f"{feeds}:spectra", ("-1..1",), ("-1..1",))
    yield Case("gtcrn", gtcrn, f"{feeds}:spectra_of_16_bits", (), ("16 bits",))
    yield Case("silero_vad", SHARED / "models/audio/silero_vad.onnx", f"{feeds}:speech", ("-1..1",), ("-1..1",))
    stories = str(SHARED / "data/text/stories_sampled_ids.npz")
    yield Case("stories260K", SHARED / "models/text/stories260K.onnx", stories, ("ids",), ("ids",))
    magika = SHARED / "models/bytes/magika_v3_3.onnx"
    yield Case("magika", magika, f"{feeds}:heads_and_tails", ("tokens",), ("tokens",))


def scale_rows(names: Sequence[str]) -> Iterator[list[object]]:
    """One row for every case (those of the given names, where there are any) and preprocessing."""
    for case in cases():
        if names and case.name not in names:
            continue
        for way in case.tried:
            preprocess = _file(way) if way in PIXELS and Path(case.source).is_dir() else None
            found = examine(
                case.model, case.source, target=TARGET, preprocess=preprocess, labels=case.labels, limit=SAMPLES
            )
            said = [f"{_WORDS[each.severity]}: {each.check}" for each in found.symptoms]
            print(f"{case.name}, {way}: {'; '.join(said) or 'nothing'}", file=sys.stderr, flush=True)
            yield [
                case.name,
                way,
                "right" if way in case.right else "",
                _ratio(case, preprocess),
                f"{100 * found.accuracy.value:.0f} %" if found.accuracy else "",
                "; ".join(said) or "nothing",
            ]


def drift_rows() -> Iterator[list[object]]:
    """Alarms over random halves of one set, and against copies that are changed a little."""
    sets = {"CIFAR-10, 260": (RESNET20, cifar10_calibration()), "ImageNet, 250": (MOBILENET, imagenet_half(0))}
    for name, (model, folder) in sets.items():
        signature = models.signature(models.load(model))

        def read(way: str, folder: Path = folder, signature: data.Samples | object = signature) -> list[data.Summary]:
            return list(data.open(str(folder), signature, preprocess=_file(way)).summaries)  # type: ignore[arg-type]

        one, other = read("x/127.5 - 1"), read("x/255")
        rng = np.random.default_rng(0)
        for size in (16, 50, 100):
            alarms = missed = 0
            for _ in range(TRIALS):
                order = rng.permutation(len(one))
                first, second = order[:size], order[size : 2 * size]
                alarms += any(drift([one[n] for n in first], [one[n] for n in second]))
                missed += not any(drift([one[n] for n in first], [other[n] for n in second]))
            yield [name, f"2 x {size}", f"{100 * alarms / TRIALS:.1f} %", f"{100 * missed / TRIALS:.1f} %"]


def movement_rows() -> Iterator[list[object]]:
    """How far scales move with N samples, and what N samples foretold for 4 N."""
    for name, path, folder, way in (
        ("ResNet-20", RESNET20, cifar10_calibration(), "(x/255 - mean) / std"),
        ("MobileNetV1-0.25", MOBILENET, imagenet_half(0), "x/127.5 - 1"),
    ):
        model = models.load(path)
        samples = data.open(str(folder), models.signature(model), preprocess=_file(way))
        seen = observe(model, required_tensors(model, TARGET), samples, CONFIG)
        order = np.random.default_rng(0).permutation(len(seen.lows))
        foretold = {}
        for count in (8, 16, 32, 64, 128, len(order)):
            found = settling(seen.tensors, seen.lows[order[:count]], seen.highs[order[:count]])
            if found is not None:
                foretold[4 * count] = found.median_with_more
                before = f"{100 * foretold[count]:.1f} %" if count in foretold else ""
                yield [name, count, f"{100 * found.median:.1f} %", before, f"{100 * found.worst:.0f} %"]


def _ratio(case: Case, preprocess: str | None) -> str:
    model = models.load(case.model)
    samples = data.open(case.source, models.signature(model), preprocess=preprocess, limit=SAMPLES)
    varying = {name for each in samples.summaries for name, figures in each.inputs.items() if figures.std > 0}
    points = [each for each in meetings(model) if each.source in varying]
    if not points:
        return "not judged"
    tapped = Tapped.open(model, [each.tensor for each in points], CONFIG)
    moments = {each.tensor: Moments(each.axis) for each in points}
    for sample in samples:
        values = tapped.run(sample.feed)
        for name, moment in moments.items():
            moment.add(values[name])
    return ", ".join(f"{ratio:.2g}" for _, ratio, _ in factors(points, moments))


def _file(way: str) -> str:
    path = WORK / f"preprocess{tuple(PIXELS).index(way)}.yaml"
    path.write_text(PIXELS[way])
    return str(path)


def _made(name: str, make: Callable[[Path], None]) -> Path:
    path = WORK / name
    if not path.exists():
        make(path)
    return path


def _mobilenet_v2() -> Path:
    packed = SHARED / "models/imagenet/mobilenet_v2_1.0_224_fp32.onnx.xz"
    return _made("mobilenet_v2.onnx", lambda path: path.write_bytes(lzma.open(packed).read()) and None)


def _labels_with_background() -> Path:
    """Labels for a model of 1,001 classes, the first of which is the background."""
    rows = [line.split(",") for line in (imagenet_half(0) / "labels.csv").read_text().splitlines()]
    shifted = [f"{name},{int(number) + 1}" for name, number, *_ in rows if number.isdecimal()]
    return _made("labels_with_background.csv", lambda path: path.write_text("\n".join(shifted)) and None)


def _mnist_scaled() -> Path:
    stored = np.load(SHARED / "data/mnist/mnist_test5000.npz")
    few = stored["images"][:200].astype(np.float32) / 65025
    return _made("mnist_scaled.npz", lambda path: np.savez(path, images=few, labels=stored["labels"][:200]))


def _normalizing(source: Path) -> Path:
    """The model with its normalization in front, as many mobile exports have it: it takes 0..255."""
    model = models.load(source)
    entry = model.graph.inputs[0]
    mean = np.float32([[[123.675]], [[116.28]], [[103.53]]])
    std = np.float32([[[58.395]], [[57.12]], [[57.375]]])
    constants = []
    for name, array in (("mean", mean), ("std", std)):
        value = ir.Value(name=name, const_value=ir.tensor(array, name=name))
        model.graph.register_initializer(value)
        constants.append(value)
    users = [(use.node, use.idx) for use in entry.uses()]
    centred = ir.node("Sub", [entry, constants[0]])
    scaled = ir.node("Div", [centred.outputs[0], constants[1]])
    centred.outputs[0].name, scaled.outputs[0].name = "centred", "scaled"
    for node, index in users:
        node.replace_input_with(index, scaled.outputs[0])
    model.graph.insert_before(users[0][0], [centred, scaled])
    return _made("resnet20_normalizing.onnx", lambda path: models.save(model, path))


def verdicts(rows: list[list[object]]) -> str:
    """Counts over the table: right ones that were spoken of, wrong ones by what was said."""
    right = [row for row in rows if row[2]]
    wrong = [row for row in rows if not row[2]]
    alarms = sum("another scale" in str(row[5]) for row in right)
    caught = sum("another scale" in str(row[5]) for row in wrong)
    return f"{alarms} false alarms on {len(right)} right ones; {caught} of {len(wrong)} others are spoken of."


def main() -> None:
    """Prints the tables and keeps them in build/bench/doctor.md."""
    WORK.mkdir(parents=True, exist_ok=True)
    rows = list(scale_rows(sys.argv[1:]))
    headers = ["model", "inputs", "trained so", "r", "top-1", "the doctor says"]
    text = markdown(headers, rows) + "\n\n" + verdicts(rows) + "\n\n"
    if sys.argv[1:]:
        print(text)
        return
    text += markdown(["set", "samples", "false alarms", "x/255 for x/127.5 - 1 missed"], drift_rows()) + "\n\n"
    text += markdown(["model", "samples", "move, median tensor", "foretold", "move, worst tensor"], movement_rows())
    (WORK / "doctor.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
