"""How long `optimize --no-measure` takes, and how much memory -> one Markdown table over models of 100 to 5,000 nodes.

    python bench/optimize_time.py [--sizes 100 1000 5000] [--weights-mib 1024] [MODEL.onnx ...]

Seconds are CPU time of a process of its own, imports left out, so that neighbours on the machine do not count. Memory
is the peak resident size of that process when the passes have run. The generated models are what exporters write:
blocks of convolution, normalization, activation, and views whose targets are computed from shapes. The last row holds
the nodes of the one of 1,000 and weights of `--weights-mib` in an external file that no pass may read.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from shared import SHARED, markdown

from deploycompress.measurement.usage import peak_memory_bytes

_CHANNELS = 8
_NODES_PER_BLOCK = 20


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path, help="real models beside the generated ones")
    parser.add_argument("--sizes", nargs="*", type=int, default=[100, 300, 1000, 3000, 5000], help="nodes")
    parser.add_argument("--weights-mib", type=int, default=1024)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = [generated(size, Path(folder) / f"{size} nodes.onnx") for size in arguments.sizes]
        paths += arguments.models or [SHARED / "models/audio/gtcrn_unsimplified.onnx"]
        if arguments.weights_mib:
            name = f"1000 nodes, {arguments.weights_mib} MiB of weights.onnx"
            paths.append(generated(1000, Path(folder) / name, arguments.weights_mib))
        rows = [row(path) for path in paths]
    heads = (
        "model",
        "nodes",
        "passes s",
        "passes s per 1,000 nodes",
        "optimize s",
        "optimize s per 1,000",
        "peak MiB of the passes",
    )
    print(markdown(heads, rows))


def row(path: Path) -> tuple[str, ...]:
    """One row of the table, measured in processes of their own."""
    passes, whole = in_process(time_passes, path), in_process(time_optimize, path)
    thousands = passes["nodes"] / 1000
    return (
        path.stem,
        f"{passes['nodes']:,} -> {passes['left']:,}",
        f"{passes['seconds']:.2f}",
        f"{passes['seconds'] / thousands:.2f}",
        f"{whole['seconds']:.2f}",
        f"{whole['seconds'] / thousands:.2f}",
        f"{passes['mib']:.0f}",
    )


def in_process(function: Callable[[str], str], path: Path) -> dict[str, float]:
    """The result of `function(path)` in a fresh process, from its JSON."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return dict(json.loads(pool.apply(function, (str(path),))))


def time_passes(path: str) -> str:
    """The passes alone, one behind the other."""
    from deploycompress import targets
    from deploycompress.flow.source import open_source
    from deploycompress.passes import pipelines
    from deploycompress.passes.graph import nodes

    model = open_source(Path(path))
    before, started = len(nodes(model)), time.process_time()
    for step in pipelines.for_target(targets.load("server-cpu")):
        model = step(model).model
    seconds = time.process_time() - started
    return json.dumps({"nodes": before, "left": len(nodes(model)), "seconds": seconds, "mib": peak_mib()})


def time_optimize(path: str) -> str:
    """The whole of `optimize --no-measure`, loading, comparing and saving included."""
    from deploycompress import targets
    from deploycompress.flow.optimize import optimize

    target = targets.load("server-cpu").model_copy(update={"threads": 1})
    with tempfile.TemporaryDirectory(dir=Path(path).parent) as folder:
        started = time.process_time()
        optimize(Path(path), Path(folder) / "out.onnx", target=target, measure=False)
        return json.dumps({"seconds": time.process_time() - started})


def peak_mib() -> float:
    """Peak resident size of this process."""
    return (peak_memory_bytes() or 0) / 2**20


def generated(size: int, path: Path, weights_mib: int = 0) -> Path:
    """Writes a chain of blocks of `size` nodes in all; the weights of the last product fill `weights_mib`."""
    rng = np.random.default_rng(0)
    tensors: list[onnx.TensorProto] = []

    def constant(name: str, data: np.ndarray) -> str:
        tensors.append(numpy_helper.from_array(data, name))
        return name

    def floats(name: str, *shape: int) -> str:
        return constant(name, (rng.random(shape) / 8 + 0.1).astype(np.float32))

    lines, value = [], "x"
    for block in range(max(1, size // _NODES_PER_BLOCK)):
        names = {part: f"{part}{block}" for part in "hnraspgbmtkvuwyqzedo"}
        weight, scale, shift = (floats(f"{part}{block}", *shape) for part, shape in BLOCK_WEIGHTS)
        mean, variance = floats(f"mean{block}", _CHANNELS), floats(f"variance{block}", _CHANNELS)
        text = BLOCK.format(x=value, weight=weight, scale=scale, shift=shift, mean=mean, variance=variance, **names)
        lines.append(text)
        value = names["o"]
    constant("last", np.asarray([-1], np.int64))
    constant("zero", np.asarray(0, np.int64))
    constant("one", np.asarray(1, np.int64))
    constant("axis", np.asarray([0], np.int64))
    constant("two", np.asarray(2.0, np.float32))
    outputs = "float[N,8,8,8] y"
    tail = f"y = Identity({value})"
    if weights_mib:
        side = 4096
        count = max(1, weights_mib * 2**20 // (side * side * 4))
        names = [constant(f"large{n}", np.zeros((side, side), np.float32)) for n in range(count)]
        tail += " f0 = ReduceMean<axes=[1,2,3], keepdims=1>(y) l0 = Expand(f0, wide) " + " ".join(
            f"l{n + 1} = MatMul(l{n}, {name})" for n, name in enumerate(names)
        )
        constant("wide", np.asarray([1, 1, 1, side], np.int64))
        outputs += f", float[N,1,1,{side}] l{count}"
    text = (
        f'<ir_version: 8, opset_import: ["" : 17]>\ng (float[N,8,8,8] x) => ({outputs}) {{ {" ".join(lines)} {tail} }}'
    )
    proto = onnx.parser.parse_model(text)
    proto.graph.initializer.extend(tensors)
    external = {"save_as_external_data": True, "location": f"{path.stem}.data"} if weights_mib else {}
    onnx.save(proto, path, **external)
    return path


BLOCK_WEIGHTS = (("weight", (_CHANNELS, _CHANNELS, 3, 3)), ("scale", (_CHANNELS,)), ("shift", (_CHANNELS,)))
# 20 nodes: a normalized convolution, views with computed targets, constants in arithmetic, and what changes nothing.
BLOCK = """
    {h} = Conv<pads=[1,1,1,1]>({x}, {weight}) {n} = BatchNormalization({h}, {scale}, {shift}, {mean}, {variance})
    {r} = Relu({n}) {a} = Identity({r}) {s} = Shape({a}) {p} = Gather({s}, zero) {g} = Unsqueeze({p}, axis)
    {b} = Concat<axis=0>({g}, last) {m} = Reshape({a}, {b}) {t} = Reshape({m}, {s}) {k} = Constant<value_float=0.5>()
    {v} = Mul({k}, two) {u} = Mul({t}, {v}) {w} = Cast<to=1>({u}) {y} = Transpose<perm=[0,2,3,1]>({w})
    {q} = Transpose<perm=[0,3,1,2]>({y}) {z} = Sigmoid({q}) {e} = Mul({q}, {z}) {d} = Dropout({e}) {o} = Add({d}, {x})
"""

if __name__ == "__main__":
    main()
