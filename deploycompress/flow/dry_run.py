"""float ONNX file + samples + target -> the plan: what every node and tensor would become and why; writes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from deploycompress.calibration import RangeMethod
from deploycompress.flow.draft import draft
from deploycompress.flow.given import receive, require_samples
from deploycompress.flow.selection import original_names
from deploycompress.quantization.plan import require_int8
from deploycompress.quantization.spec import NodePlan, QuantPlan
from deploycompress.quantization.wide import with_activation_bits
from deploycompress.records.formats import Format
from deploycompress.records.progress import Track, silent
from deploycompress.targets import Target


@dataclass(frozen=True)
class PlannedNode:
    """What one node would become.

    Attributes:
        name: Its name in the model as given, where it has one there.
        op_type: Operator, after rewriting.
        form: The form it would run in.
        weight: How its weight would be stored, in words; "" where it has none or stays float.
        reason: Why.
    """

    name: str
    op_type: str
    form: str
    weight: str
    reason: str


@dataclass(frozen=True)
class PlannedTensor:
    """How one activation would be quantized.

    Attributes:
        name: Its name in the model as given, or that of the node that makes it.
        dtype: Element type of the codes.
        scale: Step between neighbouring codes.
        zero_point: The code of 0.
        low: Smallest value that has a code.
        high: Largest value that has a code.
        method: How the range was chosen, or whose grid is shared.
        placement: Whether every consumer reads the quantized value ("output"), or only 8-bit ones ("input").
    """

    name: str
    dtype: str
    scale: float
    zero_point: int
    low: float
    high: float
    method: str
    placement: str


@dataclass(frozen=True)
class DryRun:
    """A plan.

    Attributes:
        source: The model as given.
        target: Name of the target.
        form: What was asked for, in words.
        rewrites: Exact rewrites that come first.
        samples: Calibration samples behind the ranges.
        nodes: Every node that holds weights or moves quantized values.
        tensors: Every activation that would be quantized.
        notes: What is to be known about the samples.
    """

    source: Path
    target: str
    form: str
    rewrites: tuple[str, ...]
    samples: int
    nodes: tuple[PlannedNode, ...]
    tensors: tuple[PlannedTensor, ...]
    notes: tuple[str, ...]


def dry_run(
    source: Path,
    *,
    target: Target,
    form: Format,
    calib: str | None = None,
    calibration: Path | None = None,
    preprocess: str | None = None,
    tokenizer: Path | None = None,
    limit: int | None = None,
    method: RangeMethod = "mse",
    all_samples: bool = False,
    exclude: Sequence[str] = (),
    accept_data: bool = False,
    track: Track = silent,
) -> DryRun:
    """The plan that `quantize` starts from with the same arguments; it raises as `quantize` does, and writes nothing.

    Layers that `quantize` would take back because they are faster float, or for accuracy, are not known without
    measuring and stand here as quantized.
    """
    require_samples(form, calib, calibration)
    if form.kind in ("static", "dynamic"):
        require_int8(target)
    target = with_activation_bits(target, form.activation_bits)
    given = receive(
        source,
        calib=calib,
        calibration=calibration,
        target=target,
        preprocess=preprocess,
        tokenizer=tokenizer,
        limit=limit,
        exclude=exclude,
        calibrates=form.calibrates,
        accept_data=accept_data,
        track=track,
    )
    drafted = draft(given, form, target, method=method, all_samples=all_samples, timed=False, track=track)
    made = drafted.made()
    names = original_names(given.model, drafted.floats)
    known = {str(value.name) for node in given.model.graph for value in (*node.inputs, *node.outputs) if value}
    return DryRun(
        source=source,
        target=target.name,
        form=form.name,
        rewrites=drafted.rewrites,
        samples=made.samples,
        nodes=tuple(_node(planned, made.plan, names) for planned in made.plan.nodes.values()),
        tensors=_tensors(made.plan, drafted.floats, names, known),
        notes=(*(given.samples.notes if given.samples is not None else ()), *given.admitted),
    )


def _node(planned: NodePlan, plan: QuantPlan, names: Mapping[str, str]) -> PlannedNode:
    return PlannedNode(names[planned.node], planned.op_type, planned.form, weight_words(planned, plan), planned.reason)


def weight_words(planned: NodePlan, plan: QuantPlan) -> str:
    """How the weight of a node is stored: width, granularity, rounding; "" where it has none or stays float."""
    spec = planned.weight
    if spec is not None:
        levels = "" if spec.levels == "uniform" else f" {spec.levels}"
        scales = "per channel" if spec.block is None else f"per {spec.block}"
        return f"{spec.bits} bit{levels} {scales}, {spec.rounding}"
    if planned.form not in ("int8", "dynamic int8") or planned.op_type not in ("Conv", "Gemm", "MatMul"):
        return ""
    return f"8 bit {'per channel' if plan.per_channel else 'per tensor'}, nearest"


def _tensors(plan: QuantPlan, floats: ir.Model, names: Mapping[str, str], known: set[str]) -> tuple[PlannedTensor, ...]:
    makers = {str(value.name): node for node in floats.graph for value in node.outputs}

    def shown(name: str) -> str:
        maker = makers.get(name)
        return name if name in known or maker is None else f"output of {names[str(maker.outputs[0].name)]}"

    return tuple(
        PlannedTensor(
            name=shown(name),
            dtype=spec.grid.dtype,
            scale=spec.grid.scale,
            zero_point=spec.grid.zero_point,
            low=spec.grid.low,
            high=spec.grid.high,
            method=spec.method if spec.like is None else f"shared with {shown(spec.like)}",
            placement=spec.placement,
        )
        for name, spec in plan.activations.items()
    )
