"""Every shared model through `optimize` -> two Markdown tables: what the command bought, and what each pass bought.

    python bench/optimize_table.py [--seconds 2] [--target server-cpu] [NAME ...]

One thread. NAME keeps the models whose path contains it. Reference inputs that lie beside a model are used.
"""

from __future__ import annotations

import argparse
import lzma
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from shared import SHARED, markdown

from deploycompress import targets
from deploycompress.errors import DeployCompressError
from deploycompress.flow.optimize import OptimizeResult, optimize
from deploycompress.records.measured import Comparison


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="keep models whose path contains one of these")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each latency measurement")
    parser.add_argument("--target", default="server-cpu")
    arguments = parser.parse_args()
    target = targets.load(arguments.target).model_copy(update={"threads": 1})
    results: dict[str, OptimizeResult] = {}
    refused: list[tuple[str, str]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, path in models(Path(folder)):
            if arguments.names and not any(part in name for part in arguments.names):
                continue
            data = str(path.parent) if any(path.parent.glob("input_*.pb")) else None
            try:
                results[name] = optimize(
                    path, Path(folder) / "out.onnx", target=target, data=data, budget_s=arguments.seconds
                )
            except DeployCompressError as error:
                refused.append((name, error.what))
    print(markdown(("model", "nodes", "bytes", "latency ratio (95 %)", "verdict", "outputs equal on"), totals(results)))
    print()
    print(markdown(("pass", "kept on", "nodes", "bytes", "faster on", "reverted on"), passes(results)))
    for name, reason in refused:
        print(f"\nrefused {name}: {reason}")


def models(folder: Path) -> Iterator[tuple[str, Path]]:
    """(name, path) of every shared model and corpus file; packed ones are unpacked into `folder`."""
    for path in sorted((SHARED / "models").rglob("*.onnx*")):
        if path.suffix == ".xz":
            unpacked = folder / path.stem
            unpacked.write_bytes(lzma.decompress(path.read_bytes()))
            yield path.stem, unpacked
        elif path.suffix == ".onnx":
            yield path.name, path
    for path in sorted((SHARED / "onnx_corpus").glob("*/model.onnx")):
        yield path.parent.name, path


def totals(results: dict[str, OptimizeResult]) -> Iterator[tuple[str, ...]]:
    """One row a model."""
    for name, result in results.items():
        yield (
            name,
            f"{result.nodes_before} -> {result.nodes_after}",
            f"{result.bytes_before:,} -> {result.bytes_after:,}",
            ratio(result.comparison),
            result.comparison.verdict if result.comparison else "not measured",
            f"{result.feeds} feeds",
        )


def passes(results: dict[str, OptimizeResult]) -> Iterator[tuple[str, ...]]:
    """One row a pass, summed over the models; a pass that bought nothing anywhere shows it."""
    kept: dict[str, list[str]] = defaultdict(list)
    faster: dict[str, list[str]] = defaultdict(list)
    reverted: dict[str, list[str]] = defaultdict(list)
    nodes: dict[str, int] = defaultdict(int)
    size: dict[str, int] = defaultdict(int)
    order: dict[str, None] = {}
    for name, result in results.items():
        for step in result.steps:
            order[step.name] = None
            if not step.kept:
                if step.changes:
                    reverted[step.name].append(f"{name} ({step.reason.removeprefix('reverted: ')})")
                continue
            kept[step.name].append(name)
            nodes[step.name] += step.nodes_after - step.nodes_before
            size[step.name] += step.bytes_after - step.bytes_before
            if step.comparison is not None and step.comparison.verdict == "FASTER":
                faster[step.name].append(f"{name} {ratio(step.comparison)}")
    for step in order:
        yield (
            step,
            f"{len(kept[step])} models",
            f"{nodes[step]:+d}",
            f"{size[step]:+,}",
            "; ".join(faster[step]) or "-",
            "; ".join(reverted[step]) or "-",
        )


def ratio(comparison: Comparison | None) -> str:
    """Speed-up with its interval."""
    if comparison is None:
        return "-"
    return f"x{comparison.speedup:.2f} [{comparison.interval.low:.2f}, {comparison.interval.high:.2f}]"


if __name__ == "__main__":
    main()
