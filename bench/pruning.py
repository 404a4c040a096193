"""`prune` on exported nets beside Torch-Pruning, the time that grouping takes, and ResNet-20 with and without repair.

    python bench/pruning.py [parameters] [grouping] [resnet]

parameters: share of the weights that 50 % of the channels of every group are, on the ONNX graph as each exporter writes
it, and by Torch-Pruning on the PyTorch module (its magnitude pruner, layer by layer, the last layer left as it is;
without BatchNorm, which the exact rewrites fold on our side). grouping: CPU time to find the groups. resnet: accuracy
of the shared CIFAR-10 ResNet-20 on the 5,000 test images at `--ratio 0.3` of the inner channels of its blocks, by four
scores, with and without repair from calibration images; latency interleaved with the original.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from time import process_time

import convnets
import exported
import torch
import torch_pruning
from shared import RESNET20, WORK, cifar10_calibration, cifar10_evaluation, markdown

from deploycompress import prune, targets
from deploycompress.flow.source import open_source
from deploycompress.passes.pipelines import PREPARE
from deploycompress.pruning import find
from deploycompress.pruning.choice import Score
from deploycompress.report import words

TARGET = targets.load("server-cpu-avx2")
NETS = ("resnet", "vgg", "mobilenet-v2", "efficientnet", "densenet")
TRANSFORMERS = ("bert", "vit", "gpt", "llama")
COMPARED: tuple[Score, ...] = ("l2", "second-order", "random", "activation")
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
    """A row for each score."""
    rows = []
    calibration, evaluation = str(cifar10_calibration()), str(cifar10_evaluation())
    for score in COMPARED:
        rows.append(_judged(score, calibration, evaluation))
        print(*rows[-1], sep=" | ", flush=True)
    headers = ["score", "multiplications", "top-1 drop, cut", "top-1 drop, repaired", "recovered", "speed"]
    return markdown(headers, rows)


def _judged(score: Score, calibration: str, evaluation: str) -> list[str]:
    results = [
        prune(
            RESNET20,
            WORK / f"resnet20-{score}-{repair}.onnx",
            target=TARGET,
            ratio=0.3,
            score=score,
            calib=calibration,
            preprocess="imagenet",
            exclude=STREAMS,
            eval_data=evaluation,
            repair=repair,
            measure=repair,
        )
        for repair in (False, True)
    ]
    cut, repaired = (result.accuracy for result in results)
    assert cut is not None
    assert repaired is not None
    left = 1 - (repaired.drop or 0) / (cut.drop or 1)
    last = results[-1]
    assert last.comparison is not None
    speed = f"{words.against(last.comparison)} {words.ratio_interval(last.comparison)}"
    macs = f"-{100 * (1 - last.macs_after / last.macs_before):.1f} %"
    return [score, macs, words.drop(cut) or "", words.drop(repaired) or "", f"{100 * left:.0f} %", speed]


PARTS: dict[str, Callable[[], str]] = {"parameters": parameters, "grouping": grouping, "resnet": resnet}


def main() -> None:
    """Prints the tables asked for, or all, and keeps them in build/bench."""
    for name in sys.argv[1:] or PARTS:
        table = PARTS[name]()
        (WORK / f"pruning-{name}.md").write_text(table + "\n")
        print(f"{table}\n", flush=True)


if __name__ == "__main__":
    main()
