"""Every shared model, corpus file and exported conv net through `optimize` and its peers -> one Markdown table.

    python bench/optimize_table.py [--seconds 0.5] [--target server-cpu-avx2] [NAME ...]

The original, `deploycompress optimize`, onnxslim and onnxsim, judged alike: nodes (control-flow bodies included), bytes
(external data included), outputs on the same feeds (`flow.feeds`, `flow.agreement`), latency in rounds interleaved with
the original, one thread, CPU time of that thread (neighbours on the machine move it least); SLOWER and FASTER only
beyond noise, SLOWER only where measured twice. Then the totals, and
what each pass of `optimize` bought. NAME keeps the models whose name contains it. What is found about a model is kept
below build/bench/optimize_table/ and not measured again, so that a run can be split and goes on where it stopped; the
tables go to build/bench/optimize_table.md too.
"""

from __future__ import annotations

import argparse
import lzma
import pickle
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import convnets
from cpu_time import cpu_compare
from peers import PEERS, simplify
from shared import SHARED, WORK, markdown

from deploycompress import model as models
from deploycompress import targets
from deploycompress.errors import DeployCompressError, ModelRejectedError
from deploycompress.flow.feeds import differential_feeds, stable
from deploycompress.flow.gate import Gate
from deploycompress.flow.optimize import OptimizeResult, optimize
from deploycompress.passes import graph
from deploycompress.records.measured import Comparison
from deploycompress.runtime.session import Session, SessionConfig
from deploycompress.targets import Target

OURS = "deploycompress"
TOOLS = (OURS, *PEERS)


@dataclass(frozen=True)
class Outcome:
    """What one tool made of one model; `problem` is "" where it is right."""

    nodes: int = 0
    size_bytes: int = 0
    comparison: Comparison | None = None
    problem: str = ""


@dataclass(frozen=True)
class Row:
    """One model: its own figures and what each tool made of it."""

    name: str
    nodes: int
    size_bytes: int
    outcomes: dict[str, Outcome]
    ours: OptimizeResult | None


@dataclass(frozen=True)
class Unusable:
    """A file ONNX Runtime cannot run, and how each tool ended on it."""

    name: str
    ends: tuple[str, ...]


def main() -> None:
    """Prints and keeps the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="keep models whose name contains one of these")
    parser.add_argument("--seconds", type=float, default=0.5, help="of each latency measurement of optimize")
    parser.add_argument("--target", default="server-cpu-avx2")
    arguments = parser.parse_args()
    target = targets.load(arguments.target).model_copy(update={"threads": 1})
    found: list[Row | Unusable] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, path in sources(Path(folder)):
            if not arguments.names or any(part in name for part in arguments.names):
                found.append(kept(name, path, Path(folder), target, arguments.seconds))
    rows = [row for row in found if isinstance(row, Row)]
    results = {row.name: row.ours for row in rows if row.ours is not None}
    unusable = [(row.name, *row.ends) for row in found if isinstance(row, Unusable)]
    report = "\n\n".join(
        (
            markdown(_HEADERS, map(_cells, rows)),
            markdown(("tool", "models", "wrong", "failed", "FASTER", "SLOWER", "nodes", "bytes"), totals(rows)),
            markdown(("pass", "kept on", "nodes", "bytes", "faster on", "reverted on"), passes(results)),
            markdown(("file ONNX Runtime cannot run", *TOOLS), unusable),
        )
    )
    WORK.mkdir(parents=True, exist_ok=True)
    (WORK / "optimize_table.md").write_text(report + "\n")
    print(report)


def sources(folder: Path) -> Iterator[tuple[str, Path]]:
    """(name, path) of every shared model, exported net and corpus file; packed ones are unpacked into `folder`."""
    for path in sorted((SHARED / "models").rglob("*.onnx*")):
        if path.suffix == ".xz":
            unpacked = folder / path.stem
            unpacked.write_bytes(lzma.decompress(path.read_bytes()))
            yield unpacked.stem, unpacked
        elif path.suffix == ".onnx":
            yield path.stem, path
    for name in convnets.NAMES:
        for exporter, opset in convnets.OPSETS.items():
            path = convnets.exported(name, exporter, opset)
            yield path.stem, path
    for path in sorted((SHARED / "onnx_corpus").glob("*/model.onnx")):
        yield f"corpus/{path.parent.name}", path


def kept(name: str, source: Path, folder: Path, target: Target, seconds: float) -> Row | Unusable:
    """What is known of a model, found out now where no run before this one did."""
    memory = WORK / "optimize_table" / f"{name.replace('/', '-')}.pickle"
    if not memory.is_file():
        print(f"... {name}", flush=True)
        try:
            row: Row | Unusable = compare(name, source, folder, target, seconds)
        except DeployCompressError as error:
            ends = [simplify(peer, source, folder / "peer.onnx") or "writes a file" for peer in PEERS]
            what = error.what.split(": ")[0].replace(str(source.parent), name)
            row = Unusable(name, (f"refused: {what}", *ends))
        memory.parent.mkdir(parents=True, exist_ok=True)
        memory.write_bytes(pickle.dumps(row))
    found: Row | Unusable = pickle.loads(memory.read_bytes())
    return found


def compare(name: str, source: Path, folder: Path, target: Target, seconds: float) -> Row:
    """One model through every tool.

    Raises:
        ModelRejectedError: ONNX Runtime cannot load or run the original.
    """
    session, config = Session(source, SessionConfig(threads=1)), SessionConfig(threads=1)
    original = models.load(source)
    data = str(source.parent) if any(source.parent.glob("input_*.pb")) else None
    feeds = differential_feeds(session, models.signature(original), data)
    gate = Gate(feeds, stable(session, feeds), config)
    outcomes: dict[str, Outcome] = {}
    result = None
    for tool in TOOLS:
        output = folder / f"{tool}.onnx"
        problem = ""
        if tool == OURS:
            try:
                result = optimize(source, output, target=target, data=data, budget_s=seconds)
            except DeployCompressError as error:
                problem = f"failed: {error.what[:80]}"
        else:
            problem = simplify(tool, source, output)
        outcomes[tool] = Outcome(problem=problem) if problem else judged(output, session, gate)
        for file in (*models.data_files(output), output) if output.is_file() else ():
            file.unlink()
    return Row(name, len(graph.nodes(original)), models.size_bytes(source), outcomes, result)


def judged(output: Path, original: Session, gate: Gate) -> Outcome:
    """A file a tool wrote, compared with the original."""
    try:
        session, model = Session(output, gate.config), models.load(output)
    except ModelRejectedError as error:
        return Outcome(problem=f"does not load: {error.what[:60]}")
    found = gate.disagreement(session)
    comparison = None
    if found is None:
        comparison = cpu_compare(original, session, gate.feeds[0])
        if comparison.verdict == "SLOWER":
            comparison = cpu_compare(original, session, gate.feeds[0])
    problem = "" if found is None else f"wrong: {found[:60]}"
    return Outcome(len(graph.nodes(model)), models.size_bytes(output), comparison, problem)


_HEADERS = ("model", "nodes", *TOOLS, "bytes", *TOOLS, *(f"speed {tool}" for tool in TOOLS))


def _cells(row: Row) -> list[str]:
    made = [row.outcomes[tool] for tool in TOOLS]
    nodes = [str(outcome.nodes) if not outcome.problem else "-" for outcome in made]
    sizes = [f"{outcome.size_bytes:,}" if not outcome.problem else "-" for outcome in made]
    speeds = [outcome.problem or ratio(outcome.comparison) for outcome in made]
    return [row.name, str(row.nodes), *nodes, f"{row.size_bytes:,}", *sizes, *speeds]


def totals(rows: list[Row]) -> Iterator[tuple[object, ...]]:
    """One row a tool; nodes and bytes over the models that every tool got right."""
    common = [row for row in rows if not any(outcome.problem for outcome in row.outcomes.values())]
    nodes, size = sum(row.nodes for row in common), sum(row.size_bytes for row in common)
    yield "original", len(rows), "", "", "", "", f"{nodes:,}", f"{size:,}"
    for tool in TOOLS:
        made = [row.outcomes[tool] for row in rows]
        verdicts = [outcome.comparison.verdict for outcome in made if outcome.comparison is not None]
        wrong = sum(outcome.problem.startswith("wrong") for outcome in made)
        yield (
            tool,
            len(made),
            wrong,
            sum(bool(outcome.problem) for outcome in made) - wrong,
            verdicts.count("FASTER"),
            verdicts.count("SLOWER"),
            f"{sum(row.outcomes[tool].nodes for row in common):,}",
            f"{sum(row.outcomes[tool].size_bytes for row in common):,}",
        )


def passes(results: dict[str, OptimizeResult]) -> Iterator[tuple[str, ...]]:
    """One row a pass, summed over the models; a pass that bought nothing anywhere shows it."""
    kept: dict[str, list[str]] = defaultdict(list)
    faster: dict[str, list[str]] = defaultdict(list)
    reverted: dict[str, list[str]] = defaultdict(list)
    nodes: dict[str, int] = defaultdict(int)
    size: dict[str, int] = defaultdict(int)
    for name, result in results.items():
        for step in result.steps:
            kept.setdefault(step.name, [])
            if not step.kept:
                if step.changes:
                    reverted[step.name].append(f"{name} ({step.reason.removeprefix('reverted: ')})")
                continue
            kept[step.name].append(name)
            nodes[step.name] += step.nodes_after - step.nodes_before
            size[step.name] += step.bytes_after - step.bytes_before
            if step.comparison is not None and step.comparison.verdict == "FASTER":
                faster[step.name].append(f"{name} {ratio(step.comparison)}")
    for step, where in kept.items():
        yield (
            step,
            f"{len(where)} models",
            f"{nodes[step]:+d}",
            f"{size[step]:+,}",
            "; ".join(faster[step]) or "-",
            "; ".join(reverted[step]) or "-",
        )


def ratio(comparison: Comparison | None) -> str:
    """Speed-up with its interval, and the verdict where there is one."""
    if comparison is None:
        return "-"
    verdict = "" if comparison.verdict == "NO DIFFERENCE" else f" {comparison.verdict}"
    return f"x{comparison.speedup:.2f} [{comparison.interval.low:.2f}, {comparison.interval.high:.2f}]{verdict}"


if __name__ == "__main__":
    main()
