"""float model, open + form -> everything that quantized graphs of it are made from, for any widths of single layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import onnx_ir as ir

from deploycompress import model as models
from deploycompress.calibration import RangeMethod
from deploycompress.errors import UnsupportedError
from deploycompress.flow.executed import named
from deploycompress.flow.floats import rewrite
from deploycompress.flow.gathering import FromSamples, Gather
from deploycompress.flow.given import Given
from deploycompress.flow.half import Half
from deploycompress.flow.making import Choice, Dynamic, Made, Maker, Static
from deploycompress.flow.origins import FromFile
from deploycompress.flow.planner import Planner
from deploycompress.flow.preparations import GRAM_BYTES, GRAM_ROWS, Preparation, prepare
from deploycompress.flow.selection import nodes_named
from deploycompress.flow.weights import Weights
from deploycompress.model.versions import check
from deploycompress.passes.graph import opset
from deploycompress.quantization.candidates import WEIGHTED
from deploycompress.quantization.spec import FLOAT
from deploycompress.quantization.weight_only import weight_spec
from deploycompress.quantization.wide import MIN_OPSET_WIDE
from deploycompress.records.formats import Format
from deploycompress.records.progress import Track
from deploycompress.runtime.session import Feed, SessionConfig
from deploycompress.targets import Target

_NONE: Mapping[str, Choice] = MappingProxyType({})


@dataclass(frozen=True)
class Draft:
    """A float graph, rewritten for quantization, and what quantizes it.

    Attributes:
        floats: The float graph; every node has a name of its own.
        rewrites: Exact rewrites that made it.
        excluded: First output names of the nodes the user keeps float.
        maker: Quantizes `floats`.
        preparations: What was tried on the float graph so that it loses less.
    """

    floats: ir.Model
    rewrites: tuple[str, ...]
    excluded: frozenset[str]
    maker: Maker
    preparations: tuple[Preparation, ...] = ()

    def made(self, choices: Mapping[str, Choice] = _NONE) -> Made:
        """The quantized graph with these widths of single layers (by first output name), and their reasons."""
        widths = {name: choice.width for name, choice in choices.items()}
        made = self.maker(widths | dict.fromkeys(self.excluded, FLOAT))
        planned = dict(made.plan.nodes)
        for name, choice in choices.items():
            if name in planned and (planned[name].form == "float") == (choice.width == FLOAT):
                planned[name] = replace(planned[name], reason=choice.reason)
        return replace(made, plan=replace(made.plan, nodes=planned))


def draft(
    given: Given,
    form: Format,
    target: Target,
    *,
    method: RangeMethod,
    all_samples: bool,
    timed: bool,
    track: Track,
) -> Draft:
    """Rewrites the graph and chooses its maker; see `quantize` for the arguments.

    Raises:
        UnsupportedError: No operator is a standard one, one needs an opset that the target does not read, or a node
            that was excluded cannot be told apart after rewriting.
        CalibrationRejectedError: The saved statistics do not fit the rewritten graph.
    """
    if opset(given.model) == 0:
        raise UnsupportedError("there is nothing to quantize: no operator is of the standard domain")
    only = None if given.saved is None else given.saved.rewrites
    floats, rewrites = rewrite(given.model, given.original, given.feeds, given.config, only=only)
    check(floats, max_opset=target.max_opset, max_ir_version=target.max_ir_version)
    floats = named(floats)
    excluded = nodes_named(given.model, floats, given.excluded)
    if form.kind != "static":
        runs = FromSamples(floats, given.samples, given.config, None, track) if given.samples is not None else None
        return Draft(floats, rewrites, excluded, maker(floats, form, target, given.feeds, given.config, runs))
    if form.activation_bits == 16:
        floats = models.raise_opset(floats, MIN_OPSET_WIDE)
    prepared = prepare(
        floats,
        target,
        given.samples if given.saved is None else None,
        excluded=excluded,
        method=method,
        config=given.config,
        timed=given.timed if timed else None,
    )
    floats = named(prepared.floats)
    gather: Gather
    if given.saved is not None:
        gather = FromFile(given.saved, rewrites)
    else:
        assert given.samples is not None
        until = None if all_samples else method
        gather = FromSamples(floats, given.samples, given.config, until, track, prepared.layers, GRAM_BYTES, GRAM_ROWS)
    planner = Planner(floats, target, method, gather, given.config, prepared.sides)
    return Draft(floats, rewrites, excluded, Static(planner, form.layout), prepared.steps)


def maker(
    floats: ir.Model,
    form: Format,
    target: Target,
    feeds: tuple[Feed, ...],
    config: SessionConfig,
    runs: FromSamples | None,
) -> Maker:
    """The maker of a form other than static int8.

    Args:
        floats: The float graph.
        form: What is asked for.
        target: The device whose rules decide.
        feeds: What ranges of a half form are measured on where there are no samples.
        config: How sessions are opened.
        runs: Runs the graph on samples, where there are any.
    """
    if form.kind == "dynamic":
        return Dynamic(floats, target)
    if form.is_half:
        dtype = ir.DataType.FLOAT16 if form.kind == "fp16" else ir.DataType.BFLOAT16
        return Half(floats, target, dtype, feeds, config, runs)
    return Weights(floats, target, weight_spec(form.width, form.block_size, form.levels, form.algorithm), runs)


def require_some(made: Made) -> None:
    """Refuses a plan that leaves every layer float.

    Raises:
        UnsupportedError: It does; the message says why.
    """
    layers = [planned for planned in made.plan.nodes.values() if planned.op_type in WEIGHTED]
    if any(planned.form != "float" for planned in layers):
        return
    if not layers:
        raise UnsupportedError("there is nothing to quantize: no Conv, Gemm or MatMul has weights")
    reasons = list(dict.fromkeys(f"{planned.op_type}: {planned.reason}" for planned in layers))
    raise UnsupportedError(
        f"0 of {len(layers)} layers can be quantized for {made.plan.target} ({'; '.join(reasons[:3])})"
    )
