"""`prune` beside Torch-Pruning, the time that grouping takes, ResNet-20 by score and allocation, and speed asked for.

    python bench/pruning.py [parameters] [grouping] [resnet] [speed]

parameters: share of the weights that 50 % of the channels of every group are, on the ONNX graph as each exporter writes
it, and by Torch-Pruning on the PyTorch module (its magnitude pruner, layer by layer, the last layer left as it is;
without BatchNorm, which the exact rewrites fold on our side). grouping: CPU time to find the groups. resnet: accuracy
of the shared CIFAR-10 ResNet-20 on the 5,000 test images with as many multiplications gone as 30 % of the inner
channels of its blocks are, by score and allocation, with and without repair from calibration images. speed:
`--speedup 1.5x` on six models without samples, which change what is kept and not how fast it is; measured in the
search and again on the file, both in CPU time of one thread.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import process_time

import convnets
import exported
import torch
import torch_pruning
from cpu_time import cpu_compare
from shared import MOBILENET, RESNET20, WORK, cifar10_calibration, cifar10_evaluation, markdown

from deploycompress import prune, targets
from deploycompress.errors import UnsupportedError
from deploycompress.flow.feeds import differential_feeds, timing_feed
from deploycompress.flow.source import open_source
from deploycompress.passes.pipelines import PREPARE
from deploycompress.pruning import find
from deploycompress.records.pruning import Allocation, Score
from deploycompress.report import words
from deploycompress.runtime.session import Session, SessionConfig

TARGET = targets.load("server-cpu-avx2").model_copy(update={"threads": 1})
NETS = ("resnet", "vgg", "mobilenet-v2", "efficientnet", "densenet")
TRANSFORMERS = ("bert", "vit", "gpt", "llama")
COMPARED: tuple[tuple[Score, Allocation, bool], ...] = (
    ("l2", "uniform", True),
    ("second-order", "uniform", True),
    ("random", "uniform", True),
    ("l2", "sensitivity", True),
    ("second-order", "sensitivity", True),
    ("l2", "sensitivity", False),
    ("second-order", "sensitivity", False),
)
WANTED = 1.5
# All residual streams end in the classifier; where it is left as it is, what goes are the channels inside the blocks.
STREAMS = ("/linear/Gemm",)


def parameters() -> str:
    """A row for each net."""
    rows = []
    for name in NETS:
        ours = [_removed(convnets.exported(name, kind, convnets.OPSETS[kind])) for kind in ("dynamo", "legacy")]
        rows.append([name, *ours, _torch_pruning(name)])
    for name in TRANSFORMERS:
        ours = [_removed(exported.exported(name, kind, 18, tiny=True)) for kind in ("dynamo", "legacy")]
        rows.append([f"{name}, 2 layers", *ours, "-"])
    return markdown(["net, 50 % of channels", "dynamo export", "legacy export", "Torch-Pruning"], rows)


def _removed(path: Path) -> str:
    WORK.mkdir(parents=True, exist_ok=True)
    result = prune(path, WORK / "pruned.onnx", target=TARGET, ratio=0.5, measure=False)
    return f"{100 * (1 - result.parameters_after / result.parameters_before):.1f} %"


def _torch_pruning(name: str) -> str:
    net = convnets.net(name)
    layers = [module for module in net.modules() if isinstance(module, torch.nn.Linear)]
    before = _weights(net)
    torch_pruning.pruner.MetaPruner(
        net,
        torch.from_numpy(convnets.feed(name, 1)["image"]),
        importance=torch_pruning.importance.MagnitudeImportance(p=2),
        pruning_ratio=0.5,
        ignored_layers=layers[-1:],
    ).step()
    return f"{100 * (1 - _weights(net) / before):.1f} %"


def _weights(net: torch.nn.Module) -> int:
    layers = (module for module in net.modules() if isinstance(module, torch.nn.Conv2d | torch.nn.Linear))
    return sum(parameter.numel() for layer in layers for parameter in layer.parameters())


def grouping() -> str:
    """CPU seconds for transformers as exported, without the rewrites that make the graph smaller."""
    rows = []
    for name, kind, tiny in (("bert", "dynamo", False), ("gpt", "legacy", True), ("llama", "legacy", True)):
        model = open_source(exported.exported(name, kind, 18, tiny=tiny))
        for step in PREPARE:
            model = step(model).model
        start = process_time()
        found = find(model)
        rows.append([name, len(list(model.graph)), len(found.groups), f"{process_time() - start:.2f}"])
    return markdown(["model", "nodes", "groups", "CPU seconds"], rows)


def resnet() -> str:
    """A row for each score, allocation, and whether the residual streams stay as they are."""
    rows = []
    calibration, evaluation = str(cifar10_calibration()), str(cifar10_evaluation())
    for score, allocation, streams_stay in COMPARED:
        rows.append(_judged(score, allocation, calibration, evaluation, streams_stay=streams_stay))
        print(*rows[-1], sep=" | ", flush=True)
    headers = ["score", "allocation", "cut", "multiplications", "top-1 drop, cut", "top-1 drop, repaired", "recovered"]
    return markdown(headers, rows)


# With the streams free, 0.18 of every group gives nearly the multiplications of 0.3 of the inner ones.
_RATIOS = {True: 0.3, False: 0.18}


def _judged(
    score: Score, allocation: Allocation, calibration: str, evaluation: str, *, streams_stay: bool
) -> list[str]:
    results = [
        prune(
            RESNET20,
            WORK / f"resnet20-{score}-{allocation}-{repair}.onnx",
            target=TARGET,
            ratio=_RATIOS[streams_stay],
            score=score,
            allocation=allocation,
            calib=calibration,
            preprocess="imagenet",
            exclude=STREAMS if streams_stay else (),
            eval_data=evaluation,
            repair=repair,
            measure=False,
        )
        for repair in (False, True)
    ]
    cut, repaired = (result.accuracy for result in results)
    assert cut is not None
    assert repaired is not None
    left = 1 - (repaired.drop or 0) / (cut.drop or 1)
    last = results[-1]
    macs = f"-{100 * (1 - last.macs_after / last.macs_before):.1f} %"
    what = "inside blocks" if streams_stay else "everywhere"
    return [score, allocation, what, macs, words.drop(cut) or "", words.drop(repaired) or "", f"{100 * left:.0f} %"]


def speed() -> str:
    """A row for each model: what was measured, or why it was refused."""
    rows = []
    for name, path in _six():
        rows.append([name, *_sped_up(name, path)])
        print(*rows[-1], sep=" | ", flush=True)
    return markdown(["model", "in the search", "the file, CPU time of one thread", "trials", "multiplications"], rows)


def _six() -> Iterator[tuple[str, Path]]:
    yield "ResNet-20", RESNET20
    yield "MobileNetV1 0.25", MOBILENET
    yield "vgg", convnets.exported("vgg", "dynamo", convnets.OPSETS["dynamo"])
    yield "resnet-18", convnets.exported("resnet-18", "dynamo", convnets.OPSETS["dynamo"])
    yield "bert", exported.exported("bert")
    yield "vit", exported.exported("vit")


def _sped_up(name: str, path: Path) -> list[str]:
    output = WORK / f"faster-{name}.onnx"
    try:
        result = prune(path, output, target=TARGET, speedup=WANTED)
    except UnsupportedError as error:
        return [f"refused: {error.what}", "-", "-", "-"]
    before, after = (Session(file, SessionConfig(threads=1)) for file in (path, output))
    feed = timing_feed(before, before.signature, differential_feeds(before, before.signature, None), None)
    nearest = min(result.trials, key=lambda trial: abs((trial.speedup or 0) - WANTED))
    macs = f"-{100 * (1 - result.macs_after / result.macs_before):.1f} %"
    return [nearest.said, words.ratio_interval(cpu_compare(before, after, feed)), str(len(result.trials)), macs]


PARTS: dict[str, Callable[[], str]] = {"parameters": parameters, "grouping": grouping, "resnet": resnet, "speed": speed}


def main() -> None:
    """Prints the tables asked for, or all, and keeps them in build/bench."""
    for name in sys.argv[1:] or PARTS:
        table = PARTS[name]()
        (WORK / f"pruning-{name}.md").write_text(table + "\n")
        print(f"{table}\n", flush=True)


if __name__ == "__main__":
    main()
