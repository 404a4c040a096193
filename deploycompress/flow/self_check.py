"""file that was written -> that it runs, how close it is, how fast, and what the runtime made of it; or no file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from deploycompress import model as models
from deploycompress.errors import InvalidOutputError, ModelRejectedError, UnsupportedError
from deploycompress.flow import census
from deploycompress.flow.executed import execute, timed_nodes
from deploycompress.flow.padding import PaddedBatch, padded_batch
from deploycompress.measurement.compare import quick_compare
from deploycompress.measurement.fidelity import FidelityMeter
from deploycompress.quantization.spec import QuantPlan
from deploycompress.records.measured import Comparison, Fidelity
from deploycompress.runtime.session import Feed, Session

# What ONNX Runtime makes of a layer, by the form it was to take.
_KERNELS = {
    ("int8", "Conv"): ("QLinearConv",),
    ("int8", "Gemm"): ("QGemm", "MatMulIntegerToFloat", "MatMulInteger"),
    ("int8", "MatMul"): ("QLinearMatMul", "MatMulIntegerToFloat", "MatMulInteger"),
    ("dynamic int8", "Gemm"): ("DynamicQuantizeMatMul", "MatMulIntegerToFloat"),
    ("dynamic int8", "MatMul"): ("DynamicQuantizeMatMul", "MatMulIntegerToFloat"),
    ("weight-only", "Gemm"): ("MatMulNBits",),
    ("weight-only", "MatMul"): ("MatMulNBits",),
}
_PATIENCE_S = 6.0


@dataclass(frozen=True)
class Checked:
    """What the file turned out to be.

    Attributes:
        int8_nodes: Nodes of the executed graph that compute in 8 bits.
        kernels: What the runtime made of the quantized layers, in words.
        padded: Whether a padded batch gives the same rows; None for a model without a mask.
        weights_dequantized: Weights turned back to float on every run (each one costs more than int8 gains).
        fidelity: Outputs against the float model.
        comparison: Latency against the float model; None where it was not timed.
    """

    int8_nodes: int
    kernels: str
    padded: PaddedBatch | None
    weights_dequantized: int
    fidelity: Fidelity
    comparison: Comparison | None


def self_check(
    output: Path, plan: QuantPlan, original: Session, compared: Iterable[Feed], feed: Feed, *, timed: bool
) -> Checked:
    """Runs the file that was written; removes it where it does not run.

    Args:
        output: The file.
        plan: What it was to become.
        original: The float model.
        compared: What both are run on.
        feed: What is timed and profiled.
        timed: Whether latency is compared.

    Raises:
        InvalidOutputError: It does not load or run; it was removed.
    """
    config = original.config
    try:
        written = Session(output, config)
        meter = FidelityMeter()
        for each in compared:
            meter.add(original.run(each), written.run(each))
        executed = execute(models.load(output), feed, config, runs=1)
        padded = padded_batch(original, written, original.signature, feed)
    except (ModelRejectedError, UnsupportedError) as error:
        output.unlink(missing_ok=True)
        raise InvalidOutputError(f"the quantized model does not run: {error.what}", where=str(output)) from error
    found = census.take(executed.model)
    return Checked(
        int8_nodes=sum(kind == "int8" for kind in found.kinds.values()),
        kernels=kernels(plan, executed.model, len(found.dequantized_weights)),
        padded=padded,
        weights_dequantized=len(found.dequantized_weights),
        fidelity=meter.result(),
        comparison=_compared(original, written, feed) if timed else None,
    )


def _compared(original: Session, written: Session, feed: Feed) -> Comparison:
    """Latency side by side; what is not FASTER at once is measured again, for longer."""
    first = quick_compare(original, written, feed)
    return first if first.verdict == "FASTER" else quick_compare(original, written, feed, budget_s=_PATIENCE_S)


def kernels(plan: QuantPlan, executed: ir.Model, dequantized: int) -> str:
    """As in "48 of 48 Gemm run as QGemm; 0 weights dequantized per run".

    Args:
        plan: Which layers were quantized, and how.
        executed: The graph after the runtime's fusions.
        dequantized: Weights that it turns back to float on every run.
    """
    ran = Counter(node.op_type for node in timed_nodes(executed.graph))
    planned: dict[tuple[str, ...], Counter[str]] = {}
    for each in plan.nodes.values():
        if (each.form, each.op_type) in _KERNELS:
            planned.setdefault(_KERNELS[each.form, each.op_type], Counter())[each.op_type] += 1
    said = []
    for names, layers in planned.items():
        found = [name for name in names if ran[name]]
        fused = min(layers.total(), sum(ran[name] for name in found))
        said.append(f"{fused} of {layers.total()} {' and '.join(layers)} run as {' and '.join(found or names[:1])}")
    halves = [each.form for each in plan.nodes.values() if each.form in ("fp16", "bf16")]
    if halves:
        said.append(f"{len(halves)} of {len(plan.nodes)} nodes in {halves[0]}")
    weights = f"{dequantized} weight{'' if dequantized == 1 else 's'} dequantized per run"
    return "; ".join([", ".join(said), weights] if said else [weights])
