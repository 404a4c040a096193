"""Whole units removed: by APoZ in rounds (NT-1; digits, 64-300-100-10), half of all channels (SP-1; a small CNN)."""

from __future__ import annotations

import copy
import tempfile
import time
from pathlib import Path
from statistics import median

import torch
from torch import nn

from bench.methods.check import Check, Figures, fresh
from bench.methods.experiment import accuracy, digits, mlp, trained
from deploycompress.runtime.session import Session, SessionConfig
from deploycompress.training import exporters
from deploycompress.training.arrays import Arrays
from deploycompress.training.example import from_example
from deploycompress.training.pruning.structured import remove_channels, remove_units
from deploycompress.training.pruning.trimming import apoz, units_to_trim
from deploycompress.training.quiet import quiet

HIDDEN = ("0", "2")


def parameters(net: nn.Module) -> int:
    """Number of weights."""
    return sum(parameter.numel() for parameter in net.parameters())


def without(net: nn.Module, data: Arrays, units: dict[str, list[int]]) -> nn.Module:
    """A copy without these units."""
    twin = copy.deepcopy(net)
    remove_units(twin, data.inputs[0][:2], units)
    return twin


def nt_1(seed: int) -> Figures:
    """Six rounds of trimming by APoZ with 15 epochs each; the first round also at random, neither retrained."""
    data, test = digits(seed)
    settings = {"lr": 1e-3, "epochs": 15, "batch_size": 64, "seed": seed}
    net = trained(mlp(seed, 64, 300, 100, 10), data, **{**settings, "epochs": 30})
    base, whole = accuracy(net, test), parameters(net)
    generator, drops = torch.Generator().manual_seed(seed), []
    chosen = {name: units_to_trim(shares) for name, shares in apoz(net, HIDDEN, data).items()}
    sizes = {name: net.get_submodule(name).out_features for name in HIDDEN}
    for _ in range(5):
        random = {n: torch.randperm(int(sizes[n]), generator=generator)[: len(chosen[n])].tolist() for n in HIDDEN}
        drops.append(base - accuracy(without(net, data, random), test))
    first = base - accuracy(without(net, data, chosen), test)
    for _ in range(6):
        chosen = {name: units_to_trim(shares) for name, shares in apoz(net, HIDDEN, data).items()}
        net = trained(without(net, data, chosen), data, **settings)
    return {
        "base": base,
        "first drop, APoZ": first,
        "first drop, random": sum(drops) / len(drops),
        "after six rounds": accuracy(net, test),
        "times smaller": whole / parameters(net),
    }


def cnn(seed: int) -> nn.Module:
    """32-64-64 channels, BatchNorm, pooling, 10 classes."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for inputs, outputs, stride in ((1, 32, 1), (32, 64, 2), (64, 64, 1)):
        layers += [nn.Conv2d(inputs, outputs, 3, stride, 1), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def sp_1(seed: int) -> Figures:
    """Half of the channels go, 10 epochs mend."""
    data, test = digits(seed, images=True)
    net = trained(cnn(seed), data, lr=2e-3, epochs=10, batch_size=64, seed=seed)
    small = copy.deepcopy(net)
    remove_channels(small, data.inputs[0][:2], 0.5)
    before = accuracy(small, test)
    small = trained(small, data, lr=2e-3, epochs=10, batch_size=64, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for name, module in (("whole", net), ("small", small)):
            files.append(Path(folder, f"{name}.onnx"))
            with quiet():
                example = from_example(data.inputs[0][:2], dynamic_batch=True)
                exporters.export("legacy", module, example, ("logits",), files[-1], 17)
        sizes = [file.stat().st_size for file in files]
        times = interleaved_cpu_ms(files, data.inputs[0][:64])
    return {
        "base": accuracy(net, test),
        "half, not retrained": before,
        "half, retrained": accuracy(small, test),
        "bytes, % of base": 100 * sizes[1] / sizes[0],
        "time at batch 64, % of base": 100 * times[1] / times[0],
    }


def interleaved_cpu_ms(files: list[Path], x: torch.Tensor) -> list[float]:
    """Median of the CPU time of each file over 60 rounds, side by side, in the calling thread."""
    sessions = [Session(file, SessionConfig(threads=1)) for file in files]
    taken: list[list[float]] = [[] for _ in files]
    for number in range(70):
        for session, times in zip(sessions, taken, strict=True):
            start = time.thread_time()
            session.run({session.signature.input_names[0]: x.numpy()})
            if number >= 10:
                times.append(1e3 * (time.thread_time() - start))
    return [median(times) for times in taken]


CHECKS = (
    Check(
        "NT-1",
        fresh(5),
        nt_1,
        lambda mean: (
            mean["first drop, APoZ"] <= mean["first drop, random"] - 1
            and mean["times smaller"] >= 4
            and mean["after six rounds"] >= mean["base"] - 1.5
        ),
        "APoZ: the first round costs 1.0 less than random; after six rounds 4x smaller, at most 1.5 below base",
    ),
    Check(
        "SP-1",
        fresh(5),
        sp_1,
        lambda mean: (
            mean["half, retrained"] >= mean["base"] - 1.5
            and mean["bytes, % of base"] <= 40
            and mean["time at batch 64, % of base"] <= 80
        ),
        "half of the channels: at most 1.5 below base, at most 40 % of the bytes and 80 % of the time",
        fast=True,
    ),
)
