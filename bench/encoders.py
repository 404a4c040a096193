"""Exported transformers through the rewrites -> Markdown tables: what all of them buy, and what each one alone does.

    python bench/encoders.py [--tiny | --ablation | --exporters] [--seconds 4] [--opsets 17,20,23] [NAME ...]

One thread, against ONNX Runtime's default on the same export. Ratios are medians of interleaved runs in thread CPU
time, which the neighbours of a shared machine disturb least. Outputs are compared on three feeds, two of them padded.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from exported import NAMES, Attention, Exporter, exported, feeds
from shared import markdown

from deploycompress import model as models
from deploycompress.errors import ModelRejectedError
from deploycompress.flow.source import open_source
from deploycompress.passes import pipelines
from deploycompress.passes.base import Pass
from deploycompress.passes.graph import nodes
from deploycompress.passes.rows_to_matrix import RowsToMatrix
from deploycompress.passes.slice_early import SliceEarly
from deploycompress.runtime.session import Session, SessionConfig

ONE_THREAD = SessionConfig(threads=1)
_EXPORTERS: tuple[Exporter, ...] = ("dynamo", "legacy")
EVERYTHING = tuple(step for step in pipelines.EVERY_PASS if step not in pipelines.BEFORE_INT8)


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--tiny", action="store_true", help="2 layers of width 32: checks, says nothing about speed")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each latency measurement")
    parser.add_argument("--opsets", default="17,20,23")
    parser.add_argument("--ablation", action="store_true", help="the second table instead of the first")
    parser.add_argument("--exporters", action="store_true", help="BERT of both exporters side by side")
    arguments = parser.parse_args()
    if arguments.exporters:
        print(markdown(("BERT, 1x128", "as exported", "optimized"), exporters(arguments.seconds)))
        return
    if arguments.ablation:
        print(markdown(("rewrites", "nodes", "1x8", "1x128"), ablation(arguments.seconds)))
        return
    opsets = [int(opset) for opset in arguments.opsets.split(",")]
    head = ("export", "nodes", "rewrites that fired", "largest difference", "1x8", "1x128")
    print(markdown(head, rows(arguments.names, opsets, arguments.seconds, tiny=arguments.tiny)))


def rows(names: Sequence[str], opsets: Sequence[int], seconds: float, *, tiny: bool) -> Iterator[tuple[object, ...]]:
    """One row an export; where the exporter or the runtime refuses, its reason."""
    exporters: tuple[Exporter, ...] = ("dynamo", "legacy")
    attentions: tuple[Attention, ...] = ("eager", "sdpa")
    for name in names:
        for exporter in exporters:
            for opset in opsets:
                for attention in attentions:
                    title = f"{name}, {exporter} {opset}, {attention}"
                    try:
                        path = exported(name, exporter, opset, attention, tiny=tiny)
                    except RuntimeError as error:
                        yield title, f"not exported: {str(error).splitlines()[0]}", "", "", "", ""
                        continue
                    try:
                        yield title, *row(name, path, seconds, tiny=tiny)
                    except ModelRejectedError as error:
                        yield title, f"the export does not run: {error.what.split(': ')[-1][:120]}", "", "", "", ""


def row(name: str, path: Path, seconds: float, *, tiny: bool) -> tuple[object, ...]:
    """Nodes, rewrites, difference and ratios of one export."""
    source = open_source(path)
    after, fired = source, []
    for step in EVERYTHING:
        result = step(after)
        after = result.model
        if result.changes and step in pipelines.TRANSFORMER:
            fired.append(f"{type(step).__name__} {len(result.changes)}")
    count = f"{len(nodes(source))} -> {len(nodes(after))}"
    before, rewritten = Session(path, ONE_THREAD), Session(models.serialize(after), ONE_THREAD)
    difference = f"{largest_difference(name, before, rewritten, tiny=tiny):.1e}"
    ratios = []
    for tokens in (8, 128) if not tiny and name != "vit" else (8,):
        feed = feeds(name, 1, tokens, tiny=tiny)
        speeds = interleaved([before.runner(feed), rewritten.runner(feed)], seconds)
        ratios.append(f"x{speeds[1]:.2f}")
    return count, ", ".join(fired), difference, *ratios, *[""] * (2 - len(ratios))


def largest_difference(name: str, before: Session, after: Session, *, tiny: bool) -> float:
    """Largest difference of any output relative to its largest value, alone and in padded batches."""
    worst = 0.0
    for batch, tokens in ((1, 8), (3, 12), (4, 31)):
        feed = feeds(name, batch, tokens, tiny=tiny)
        for expected, got in zip(before.run(feed).values(), after.run(feed).values(), strict=True):
            if expected.shape != got.shape:
                raise ValueError(f"{name}: {got.shape} instead of {expected.shape}")
            worst = max(worst, float(np.abs(expected - got).max() / np.abs(expected).max()))
    return worst


def ablation(seconds: float) -> Iterator[tuple[object, ...]]:
    """BERT with one rewrite of the transformer tuple, without one, and with all."""
    path = exported("bert", "dynamo", 18, "eager")
    source = open_source(path)
    targets = pipelines.TRANSFORMER[0]
    choices: dict[str, tuple[Pass, ...]] = {
        "none of them": (),
        "ConstantTargets": (targets,),
        "ConstantTargets, SliceEarly": (targets, SliceEarly()),
        "ConstantTargets, RowsToMatrix": (targets, RowsToMatrix()),
        "all": pipelines.TRANSFORMER,
    }
    start = EVERYTHING.index(targets)
    made = []
    for chosen in choices.values():
        after = source
        for step in (*EVERYTHING[:start], *chosen, *EVERYTHING[start + len(pipelines.TRANSFORMER) :]):
            after = step(after).model
        made.append(after)
    sessions = [Session(path, ONE_THREAD), *(Session(models.serialize(model), ONE_THREAD) for model in made)]
    speeds = []
    for tokens in (8, 128):
        feed = feeds("bert", 1, tokens)
        speeds.append(interleaved([session.runner(feed) for session in sessions], seconds * len(sessions)))
    for index, (title, model) in enumerate(zip(choices, made, strict=True), start=1):
        yield title, len(nodes(model)), *(f"x{speed[index]:.2f}" for speed in speeds)


def exporters(seconds: float) -> Iterator[tuple[object, ...]]:
    """Both exports of BERT as they are and rewritten, in one interleaved run, against the dynamo export as it is."""
    sessions = []
    for exporter in _EXPORTERS:
        path = exported("bert", exporter, 18, "eager")
        after = open_source(path)
        for step in EVERYTHING:
            after = step(after).model
        sessions += [Session(path, ONE_THREAD), Session(models.serialize(after), ONE_THREAD)]
    feed = feeds("bert", 1, 128)
    speeds = interleaved([session.runner(feed) for session in sessions], seconds * len(sessions))
    for index, exporter in enumerate(_EXPORTERS):
        yield exporter, *(f"x{speed:.2f}" for speed in speeds[2 * index : 2 * index + 2])


def interleaved(runners: Sequence[Callable[[], object]], seconds: float) -> list[float]:
    """Speed of each runner against the first: median over rounds of the ratio of their CPU times."""
    for run in runners:
        run()
    times: list[list[float]] = []
    stop = time.perf_counter() + seconds
    while len(times) < 16 or time.perf_counter() < stop:
        order = range(len(runners)) if len(times) % 2 else reversed(range(len(runners)))
        spent = dict.fromkeys(range(len(runners)), 0.0)
        for index in order:
            start = time.thread_time()
            runners[index]()
            spent[index] = time.thread_time() - start
        times.append([spent[index] for index in range(len(runners))])
    taken = np.asarray(times)
    return [float(np.median(taken[:, 0] / taken[:, index])) for index in range(len(runners))]


if __name__ == "__main__":
    main()
