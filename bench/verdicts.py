"""How often the verdict is right, where the truth is known: a file against itself, and a model with 5 % more work.

    python bench/verdicts.py [--identical 200] [--slower 50] [--seconds 1]

Each comparison is what `bench` does with two files: five processes each, more on a noisy machine. The models are chains
of products, 20 of them against 20 of the same, and against 21. Prints a table for docs/results.md and keeps a line per
comparison in build/bench/verdicts.csv.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections import Counter
from pathlib import Path

import numpy as np
import onnx_ir as ir
from shared import WORK, markdown

from deploycompress import model as models
from deploycompress.measurement.latency import Candidate, measure
from deploycompress.runtime.session import SessionConfig

LAYERS, MORE = 20, 21
SHAPES = {"small": (32, 128), "mid": (32, 256)}  # rows, width: about 0.5 ms and 2 ms a run


def chain(layers: int, width: int) -> Path:
    """A file x [N, width] -> y [N, width] of so many products."""
    path = WORK / f"chain-{layers}-{width}.onnx"
    weights = np.random.default_rng(0).normal(size=(width, width)).astype(np.float32) / math.sqrt(width)
    held = ir.val("w", ir.DataType.FLOAT, [width, width], const_value=ir.tensor(weights, name="w"))
    given = ir.val("x", ir.DataType.FLOAT, ["N", width])
    nodes: list[ir.Node] = []
    for _ in range(layers):
        nodes.append(ir.node("MatMul", [nodes[-1].outputs[0] if nodes else given, held]))
        nodes[-1].outputs[0].name = f"h{len(nodes)}"
    made = nodes[-1].outputs[0]
    made.type, made.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape(["N", width])
    graph = ir.Graph([given], [made], nodes=nodes, initializers=[held], opset_imports={"": 17}, name="chain")
    path.write_bytes(models.serialize(ir.Model(graph, ir_version=8)))
    return path


def compared(size: str, layers: int, seconds: float) -> tuple[str, float, int, float, float]:
    """Verdict on `layers` products against 20, speed-up, processes a model, share of time waited, seconds it took."""
    rows, width = SHAPES[size]
    feed = {"x": np.random.default_rng(1).normal(size=(rows, width)).astype(np.float32)}
    config = SessionConfig(threads=1)
    began = time.monotonic()
    _, found = measure([Candidate(chain(count, width), config, (feed,)) for count in (LAYERS, layers)], seconds=seconds)
    assert found.comparison is not None
    waited = found.latency.waited_share
    return (
        found.comparison.verdict,
        found.comparison.speedup,
        found.latency.launches,
        float("nan") if waited is None else waited,
        time.monotonic() - began,
    )


def main() -> None:
    """Alternates the cases, so that all meet the same machine, and prints the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--identical", type=int, default=200)
    options.add_argument("--slower", type=int, default=50)
    options.add_argument("--seconds", type=float, default=1.0)
    given = options.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    # Number k of n comparisons takes place at the share (k + 1/2) / n of the whole.
    cases = [((k + 0.5) / given.identical, LAYERS, k) for k in range(given.identical)]
    cases += [((k + 0.5) / given.slower, MORE, k) for k in range(given.slower)]
    found: dict[tuple[int, str], list[tuple[str, float, int, float, float]]] = {}
    with (WORK / "verdicts.csv").open("w") as log:
        log.write("layers,size,load,verdict,speedup,processes,waited,seconds\n")
        for _, layers, number in sorted(cases):
            size = list(SHAPES)[number % len(SHAPES)]
            load = os.getloadavg()[0]
            result = compared(size, layers, given.seconds)
            found.setdefault((layers, size), []).append(result)
            log.write(",".join(map(str, (layers, size, f"{load:.2f}", *result))) + "\n")
            log.flush()
    rows = []
    for (layers, size), results in sorted(found.items()):
        verdicts = Counter(result[0] for result in results)
        rows.append(
            [
                "identical" if layers == LAYERS else "5 % more work",
                size,
                len(results),
                *(verdicts.get(word, 0) for word in ("FASTER", "SLOWER", "NO DIFFERENCE", "TOO NOISY")),
                f"{np.mean([result[2] > min(r[2] for r in results) for result in results]):.0%}",
                f"{100 * np.nanmedian([result[3] for result in results]):.0f} %",
                f"{np.median([result[4] for result in results]):.0f} / {max(result[4] for result in results):.0f} s",
            ]
        )
    heads = ["second model", "size", "comparisons", "FASTER", "SLOWER", "NO DIFFERENCE", "TOO NOISY"]
    table = markdown([*heads, "extended", "waited for a processor", "time, median / longest"], rows)
    (WORK / "verdicts.md").write_text(table + "\n")
    print(table)


if __name__ == "__main__":
    main()
