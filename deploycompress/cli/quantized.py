"""What `deploycompress quantize` prints: the result with its verdict, or with --dry-run the plan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from deploycompress.cli.tables import render
from deploycompress.report import words

if TYPE_CHECKING:
    from deploycompress.flow.accuracy_search import Trial
    from deploycompress.flow.dry_run import DryRun
    from deploycompress.flow.keeping import Kept
    from deploycompress.flow.not_run import Written
    from deploycompress.flow.quantized import QuantizeResult
    from deploycompress.quantization.spec import NodePlan

Write = Callable[[str], None]


def print_plan(planned: DryRun, write: Write) -> None:
    """Every node and tensor, and a last line that counts them."""
    nodes = [(node.name, node.op_type, node.form, node.weight, node.reason) for node in planned.nodes]
    write(render(("node", "operator", "form", "weight", "why"), nodes))
    tensors = [
        (each.name, each.dtype, f"{each.scale:.4g}", each.zero_point, f"{each.low:.4g} to {each.high:.4g}", each.method)
        for each in planned.tensors
    ]
    if tensors:
        write(render(("tensor", "type", "scale", "zero point", "holds", "range"), tensors))
    for note in planned.notes:
        write(f"note: {note}")
    forms = Counter(node.form for node in planned.nodes)
    counted = ", ".join(f"{count} {form}" for form, count in forms.most_common())
    write(f"{planned.source}: {counted} of {len(planned.nodes)} nodes; nothing was written")


def print_result(result: QuantizeResult, write: Write) -> None:
    """What became of the nodes, how a limit was kept, notes, and the verdict last."""
    _print_nodes(result.nodes, write)
    for skipped in result.skipped:
        write(f"skipped {skipped.path}: {skipped.reason}")
    if result.samples:
        rest = " (--all-samples uses the rest)" if result.samples < result.available else ""
        write(f"calibrated on {result.samples} of {result.available} samples: {result.ended}{rest}")
    for step in result.preparations:
        write(f"{step.name} at {step.places} places: {'' if step.kept else 'not '}kept, {step.reason}")
    if result.padded is not None:
        write(f"{'' if result.padded.holds else 'WARNING: '}{result.padded}")
    if result.goal is not None:
        _print_goal(result.goal, result.bytes_before, write)
    for note in result.notes:
        write(f"note: {note}")
    write(f"{result.output}: {verdict(result)}")


def _print_nodes(nodes: Sequence[NodePlan], write: Write) -> None:
    """What became of the nodes, those alike in one row."""
    counted = Counter((node.op_type, node.form, node.reason) for node in nodes)
    rows = [(op_type, form, count, reason) for (op_type, form, reason), count in counted.most_common()]
    write(render(("operator", "form", "nodes", "why"), rows))


def print_unrun(written: Written, write: Write) -> None:
    """What became of the nodes, and the verdict: what is known of a file that was not run, and what is not."""
    _print_nodes(written.nodes, write)
    for note in written.notes:
        write(f"note: {note}")
    write(
        f"{written.output}: {words.size(written.bytes_before)} -> {words.size(written.bytes_after)} "
        f"({words.smaller(written.bytes_before / written.bytes_after)}), {written.tensors} tensors as planned, "
        f"{written.unknown}"
    )


def _print_goal(kept: Kept, bytes_before: int, write: Write) -> None:
    def row(trial: Trial) -> tuple[object, ...]:
        speed = "not measured" if trial.comparison is None else words.ratio_interval(trial.comparison)
        smaller = words.smaller(bytes_before / trial.size_bytes)
        mark = "written" if (trial.float_layers, trial.promoted) == (kept.float_layers, kept.promoted) else ""
        wider = [_promoted(trial)] if has_wider else []
        return (*wider, len(trial.float_layers), words.size(trial.size_bytes), smaller, speed, trial.said, mark)

    has_wider = any(trial.promoted for trial in kept.trials)
    if kept.baseline is not None:
        write(f"float model: {kept.baseline.metric} {words.metric(kept.baseline)} on {kept.samples:,} samples")
    headers = (*(["promoted"] if has_wider else []), "float for accuracy", "size", "", "against float", "accuracy", "")
    write(render(headers, [row(trial) for trial in kept.pareto]))
    write(f"{kept.limit}: {'met' if kept.met else 'NOT MET'} after {_models(len(kept.trials))} ({kept.ended})")
    for note in kept.notes:
        write(f"note: {note}")


def _promoted(trial: Trial) -> str:
    """As in "2 to 4 bits, 1 to 8 bits"."""
    counted = sorted(Counter(trial.promoted.values()).items())
    return ", ".join(f"{count} to {bits} bits" for bits, count in counted) or "0"


def _models(count: int) -> str:
    return f"{count} model{'' if count == 1 else 's'} tried"


def verdict(result: QuantizeResult) -> str:
    """One line: size, speed, closeness to the float model."""
    parts = [
        f"{words.size(result.bytes_before)} -> {words.size(result.bytes_after)} "
        f"({words.smaller(result.bytes_before / result.bytes_after)})",
        result.kernels,
    ]
    if result.comparison is None:
        parts.append("speed not measured")
    else:
        low, high = result.comparison.interval.low, result.comparison.interval.high
        parts.append(f"{result.comparison.verdict} (x{result.comparison.speedup:.2f} [{low:.2f}, {high:.2f}])")
    closeness = f"SQNR {result.fidelity.sqnr_db:.1f} dB"
    if not result.gives_scores and result.fidelity.cosine is not None:
        closeness += f", cosine {result.fidelity.cosine:.5f}"
    elif result.fidelity.agreement is not None:
        closeness += f", same decision on {100 * result.fidelity.agreement:.1f} %"
    parts.append(f"{closeness} ({result.fidelity.count} {result.compared_on}, against the float model)")
    return ", ".join(parts)
