"""`factorize` on the shared models and the exported nets, and two checks of the methods on handwritten digits.

    python bench/factorization.py [checks] [resnet] [images] [minilm] [nets]

checks: LR-1, the middle layer of a 64-256-256-10 net cut to rank 8 by plain and by whitened SVD; CD-1, a small
convolutional net cut to 36 % of its parameters by Tucker-2, before and after 5 epochs of training; three seeds each.
resnet: the shared CIFAR-10 ResNet-20, as far as one point of top-1 allows and at shares of energy, each method alone
too. images: the other shared convolutional nets. minilm: MiniLM-L6, as far as the cosine of its outputs allows; the
last columns are sentence embeddings of sentences it was not fitted on. nets: exported nets with random weights, whose
spectra are flat, at half of the parameters of a layer: what the forms are worth in time where accuracy is no matter.

Times are processor time of one thread, interleaved with the original (see `cpu_time`).
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import convnets
import exported
import numpy as np
import sentences
import torch
from cpu_time import cpu_compare
from shared import MOBILENET, RESNET20, SHARED, WORK, cifar10_calibration, cifar10_evaluation, imagenet_half, markdown
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from deploycompress import factorize, targets
from deploycompress.calibration.gram import Gram, LayerInput
from deploycompress.errors import UnsupportedError
from deploycompress.factorization import low_rank
from deploycompress.factorization.candidates import METHODS, Method
from deploycompress.factorization.tucker import tucker
from deploycompress.flow.factor_wish import Wish
from deploycompress.flow.factored import FactorizeResult
from deploycompress.flow.feeds import differential_feeds, timing_feed
from deploycompress.flow.goal import Goal
from deploycompress.records.measured import Comparison
from deploycompress.report import words
from deploycompress.runtime.session import Session, SessionConfig

TARGET = targets.load("server-cpu-avx2").model_copy(update={"threads": 1})
SEEDS = 3
Arrays = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def checks() -> str:
    """LR-1 and CD-1."""
    rows = [_low_rank_check(seed) for seed in range(SEEDS)]
    parts = [
        markdown(
            ["LR-1, seed", "error, plain", "error, whitened", "ratio (at most 0.6)", "top-1, plain", "top-1, whitened"],
            rows,
        ),
        markdown(
            ["CD-1, seed", "parameters", "top-1", "cut (drop at most 1.5)", "5 epochs later (drop at most 0.5)"],
            [_convolution_check(seed) for seed in range(SEEDS)],
        ),
    ]
    return "\n\n".join(parts)


def _digits(seed: int) -> Arrays:
    images, labels = load_digits(return_X_y=True)
    split = train_test_split(images / 16, labels, test_size=0.3, random_state=seed, stratify=labels)
    train, test, *targets_ = (torch.from_numpy(np.asarray(each)) for each in split)
    return train.float(), test.float(), targets_[0], targets_[1]


def _trained(net: nn.Module, arrays: Arrays, epochs: int, rate: float, seed: int) -> None:
    images, _, labels, _ = arrays
    torch.manual_seed(seed)
    optimizer = torch.optim.Adam(net.parameters(), lr=rate)
    for _ in range(epochs):
        for batch in torch.randperm(len(images)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(images[batch]), labels[batch]).backward()
            optimizer.step()


@torch.no_grad()
def _top1(net: nn.Module, arrays: Arrays) -> float:
    return 100 * float((net(arrays[1]).argmax(1) == arrays[3]).float().mean())


@torch.no_grad()
def _low_rank_check(seed: int, rank: int = 8) -> list[object]:
    arrays = _digits(seed)
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))
    with torch.enable_grad():
        _trained(net, arrays, 30, 1e-3, seed)
    weight = net[2].weight.numpy().T.astype(np.float64)
    before, held_out = (net[:2](images).numpy() for images in arrays[:2])
    products = Gram.of(LayerInput("x", 256), before).products[0]
    found = []
    for spectrum in (low_rank.plain(weight), low_rank.whitened(weight, products)):
        left, right = spectrum.cut(rank)
        error = np.linalg.norm(held_out @ (weight - left @ right)) / np.linalg.norm(held_out @ weight)
        kept = net[2].weight.clone()
        net[2].weight.copy_(torch.from_numpy((left @ right).T))
        found.append((error, _top1(net, arrays)))
        net[2].weight.copy_(kept)
    (plain, plain_top1), (white, white_top1) = found
    return [seed, f"{plain:.3f}", f"{white:.3f}", f"{white / plain:.2f}", f"{plain_top1:.1f}", f"{white_top1:.1f}"]


def _convolution_check(seed: int) -> list[object]:
    arrays = _digits(seed)
    arrays = (arrays[0].reshape(-1, 1, 8, 8), arrays[1].reshape(-1, 1, 8, 8), *arrays[2:])
    torch.manual_seed(seed)
    net = nn.Sequential(
        *(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)),
    )
    _trained(net, arrays, 20, 1e-3, seed)
    before, size = _top1(net, arrays), _size(net)
    for position, ranks in ((2, (18, 24)), (5, (32, 32))):
        net[position] = _tucker_form(net[position], ranks)
    cut, share = _top1(net, arrays), _size(net) / size
    _trained(net, arrays, 5, 3e-4, seed)
    return [seed, f"{100 * share:.0f} %", f"{before:.1f}", f"{cut:.1f}", f"{_top1(net, arrays):.1f}"]


def _size(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


@torch.no_grad()
def _tucker_form(conv: nn.Conv2d, ranks: tuple[int, int]) -> nn.Sequential:
    factors = tucker(conv.weight.numpy().astype(np.float64), ranks)
    inputs, outputs = ranks
    made = nn.Sequential(
        nn.Conv2d(conv.in_channels, inputs, 1, bias=False),
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.Conv2d(outputs, conv.out_channels, 1),
    )
    for module, factor in zip(made, factors, strict=True):
        module.weight.copy_(torch.from_numpy(np.ascontiguousarray(factor.weight)))
    made[2].bias.copy_(conv.bias)
    return made


HEADERS = ("how far", "layers and forms", "parameters", "multiplications", "speed", "what it costs")


def resnet() -> str:
    """A row for each wish."""
    common = {"calib": str(cifar10_calibration()), "preprocess": "imagenet"}
    evaluation = str(cifar10_evaluation())
    goal = Goal(max_drop=0.01, eval_data=evaluation, limit=2000)
    wishes = [(Wish(goal=goal), None, None), *((Wish(energy=share), None, evaluation) for share in (0.98, 0.95))]
    wishes += [(Wish(energy=0.97), method, evaluation) for method in METHODS if method != "svd"]
    rows = []
    for wish, method, judged in wishes:
        rows.append(_row(RESNET20, wish, method=method, eval_data=judged, **common))
        print(*rows[-1], sep=" | ", flush=True)
    return markdown(HEADERS, rows)


def images() -> str:
    """MobileNetV1 as far as one point allows; detectors at a share of energy, on random images."""
    folder = str(imagenet_half(0))
    goal = Goal(max_drop=0.01, eval_data=str(imagenet_half(1)))
    rows = [["mobilenet_v1_0.25", *_row(MOBILENET, Wish(goal=goal), calib=folder, preprocess="mobilenet")]]
    for name in ("detection/fastestdet_352", "detection/ultraface_rfb_320", "sr/super_resolution_x3"):
        rows.append([name, *_row(SHARED / f"models/{name}.onnx", Wish(energy=0.95))])
        print(*rows[-1], sep=" | ", flush=True)
    return markdown(["model", *HEADERS], rows)


def mini() -> str:
    """MiniLM-L6 from the legacy exporter."""
    source = sentences.export("legacy")
    feeds = [sentences.feed([sentence]) for sentence in sentences.evaluation(200)]
    original = sentences.embeddings(Session(source, SessionConfig(threads=1)), feeds)
    rows = []
    for wish in (
        Wish(goal=Goal(min_agreement=0.99)),
        Wish(goal=Goal(min_agreement=0.98)),
        Wish(energy=0.98),
        Wish(energy=0.95),
    ):
        row = _row(source, wish, calib=str(sentences.calibration()), tokenizer=sentences.TOKENIZER)
        if _output(source).is_file():
            found = sentences.embeddings(Session(_output(source), SessionConfig(threads=1)), feeds)
            cosines = sentences.cosines(original, found)
            row += [f"{cosines.mean():.4f}", f"{cosines.min():.4f}"]
        rows.append(row)
        print(*row, sep=" | ", flush=True)
    return markdown([*HEADERS, "cosine, mean", "worst"], rows)


def nets() -> str:
    """A row for each exported net."""
    rows = []
    paths = [convnets.exported(name, "legacy", 17) for name in ("resnet", "resnet-18", "vgg", "densenet")]
    paths += [exported.exported(name, "legacy", 18, tiny=name != "vit") for name in ("vit", "bert", "gpt")]
    for path in paths:
        rows.append([path.stem, *_row(path, Wish(ratio=0.5))])
        print(*rows[-1], sep=" | ", flush=True)
    return markdown(["net", *HEADERS], rows)


def _output(source: Path) -> Path:
    return WORK / f"{source.stem}.factorized.onnx"


def _row(source: Path, wish: Wish, *, method: Method | None = None, **options: object) -> list[str]:
    asked = wish.asked if method is None else f"{wish.asked} --method {method}"
    methods = None if method is None else (method,)
    _output(source).unlink(missing_ok=True)
    try:
        result = factorize(source, _output(source), target=TARGET, wish=wish, methods=methods, **options)  # type: ignore[arg-type]
    except UnsupportedError as error:
        return [asked, f"refused: {error.what}", "", "", "", ""]
    return [asked, _forms(result), *_figures(result, _compared(source, _output(source), options))]


def _compared(source: Path, output: Path, options: Mapping[str, object]) -> Comparison:
    """Processor time of the two on the input that `factorize` times."""
    before, after = (Session(path, SessionConfig(threads=1)) for path in (source, output))
    data = options.get("calib")
    reader = {name: options[name] for name in ("preprocess", "tokenizer") if name in options}
    feeds = differential_feeds(before, before.signature, data, **reader)
    return cpu_compare(before, after, timing_feed(before, before.signature, feeds, data))


def _forms(result: FactorizeResult) -> str:
    found = Counter(row.method for row in result.layers if row.method)
    return f"{found.total()} of {len(result.layers)}: " + ", ".join(f"{n} {name}" for name, n in found.most_common())


def _figures(result: FactorizeResult, comparison: Comparison) -> Sequence[str]:
    lost = None if result.accuracy is None else words.drop(result.accuracy)
    return (
        f"-{100 * (1 - result.parameters_after / result.parameters_before):.1f} %",
        f"-{100 * (1 - result.macs_after / result.macs_before):.1f} %",
        f"{words.against(comparison)} {words.ratio_interval(comparison)}",
        f"top-1 drop {lost}" if lost else f"{result.fidelity.sqnr_db:.1f} dB on {result.compared_on}",
    )


PARTS: dict[str, Callable[[], str]] = {
    "checks": checks,
    "resnet": resnet,
    "images": images,
    "minilm": mini,
    "nets": nets,
}


def main() -> None:
    """Prints the tables asked for, or all, and keeps them in build/bench."""
    WORK.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[1:] or PARTS:
        table = PARTS[name]()
        (WORK / f"factorization-{name}.md").write_text(table + "\n")
        print(f"{table}\n", flush=True)


if __name__ == "__main__":
    main()
