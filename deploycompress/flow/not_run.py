"""float ONNX file of any size -> quantized file, without running either: weights pass through one tensor at a time.

open (not loaded by the runtime) -> rewrites that only move what is there -> quantize -> save -> check the structure.

No session is opened, so memory is that of the graph and one weight. What a session would have shown is not known: that
the file runs, how close it is, how fast. Rewrites that must be compared are left out: where a weight is computed from
constants, `optimize` on a machine that can run the model brings it into the form that is quantized here.

Source: onnx.checker (operators, types, and external data of the file by its path).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx_ir as ir

from deploycompress import model as models
from deploycompress.errors import InvalidOutputError, ModelRejectedError, UsageError
from deploycompress.flow.draft import Draft, maker, require_some
from deploycompress.flow.executed import named
from deploycompress.flow.floats import open_float
from deploycompress.flow.selection import names_matching, nodes_named
from deploycompress.flow.source import check_output
from deploycompress.model.versions import check
from deploycompress.passes.pipelines import PREPARE
from deploycompress.quantization import dynamic
from deploycompress.quantization.half import computes
from deploycompress.quantization.plan import require_int8
from deploycompress.quantization.spec import NodePlan
from deploycompress.records.formats import Format
from deploycompress.records.progress import Track, silent
from deploycompress.report import words
from deploycompress.runtime.memory import available_memory_bytes
from deploycompress.runtime.session import SessionConfig
from deploycompress.targets import Target

ASKED = "--no-run"


@dataclass(frozen=True)
class Written:
    """A quantized file that nobody has run.

    Attributes:
        source: The model as given.
        output: The model written.
        target: Name of the target.
        form: What it was asked to become, in words.
        nodes: What became of every node that holds weights, with the reason.
        rewrites: Rewrites applied first.
        bytes_before: Size of the source, external data included.
        bytes_after: Size of the output.
        tensors: Stored tensors whose place, type and shape were found in the file as planned.
        not_run: Why it was not run.
    """

    source: Path
    output: Path
    target: str
    form: str
    nodes: tuple[NodePlan, ...]
    rewrites: tuple[str, ...]
    bytes_before: int
    bytes_after: int
    tensors: int
    not_run: str

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be known beside the verdict: that nobody asked for a file that was not run."""
        return () if self.not_run == ASKED else (f"nothing was run, as with {ASKED}: {self.not_run}",)

    @property
    def unknown(self) -> str:
        """What the verdict must own up to."""
        return "not run: that it runs, its speed and its closeness to the float model are unknown"


def write_unrun(
    source: Path,
    output: Path,
    *,
    target: Target,
    form: Format,
    exclude: Sequence[str] = (),
    reason: str = ASKED,
    track: Track = silent,
) -> Written:
    """Writes a quantized form of `source` to `output`; beside it as external data where the source has such.

    Args:
        source: A float ONNX file.
        output: Where to write; never `source`.
        target: The device whose rules decide the form of the graph.
        form: What the weights become; one that needs no activations.
        exclude: Globs over node and tensor names of `source` to leave float.
        reason: Why nothing is run, for the record.
        track: Shows progress.

    Raises:
        UsageError: The form needs the model to run, or the output is the input.
        UnknownNameError: An `exclude` pattern matches nothing.
        UnsupportedError: The target cannot hold the form, or nothing in the model can use it.
        ModelRejectedError: The source is unusable or quantized already.
        InvalidOutputError: What was written is not what was planned; it was removed.
    """
    needed = why_run(form, target)
    if needed:
        raise UsageError(f"{needed}, which {ASKED} excludes", remedy="leave it out, or choose another form")
    if form.kind == "dynamic":
        require_int8(target)
    check_output(source, output)
    model = open_float(source, probed=False)
    excluded = names_matching(model, exclude)
    floats, rewrites = _prepared(model, form)
    check(floats, max_opset=target.max_opset, max_ir_version=target.max_ir_version)
    floats = named(floats)
    left_float = nodes_named(model, floats, excluded)
    form_maker = maker(floats, form, target, (), SessionConfig(threads=target.threads), None)
    made = Draft(floats, rewrites, left_float, form_maker).made()
    require_some(made)
    models.save(made.model, output, external_data=True if models.data_files(source) else None, track=track)
    return Written(
        source=source,
        output=output,
        target=target.name,
        form=form.name,
        nodes=tuple(made.plan.nodes.values()),
        rewrites=rewrites,
        bytes_before=models.size_bytes(source),
        bytes_after=models.size_bytes(output),
        tensors=_checked(output, made.model),
        not_run=reason,
    )


def why_run(form: Format, target: Target) -> str:
    """Why a form cannot be made without running the model, or "" where it can."""
    if form.kind == "static":
        return "static int8 takes the scales of activations from runs on samples"
    if form.calibrates:
        return f"--algorithm {form.algorithm} looks at activations"
    if form.kind == "fp16" and computes(target):
        return f"{target.name} computes in float16, and what would overflow there is found by running the model"
    return ""


def too_large(source: Path) -> str:
    """Why the model cannot be opened here, in words, or "" where it can: it is larger than the memory at hand."""
    available, size = available_memory_bytes(), models.size_bytes(source)
    if available is None or size <= available:
        return ""
    return f"it takes {words.size(size)}, and {words.size(available)} of memory are available"


def _prepared(model: ir.Model, form: Format) -> tuple[ir.Model, tuple[str, ...]]:
    """The graph without functions, Constant nodes and dead code, in an opset that has the operators; what changed."""
    rewrites = []
    for step in PREPARE:
        after = step(model)
        if after.changes:
            model = after.model
            rewrites.append(type(step).__name__)
    if form.kind == "dynamic":  # the other forms see to theirs
        raised = models.raise_opset(model, dynamic.MIN_OPSET)
        rewrites += [] if raised is model else ["RaiseOpset"]
        model = raised
    return model, tuple(rewrites)


def _checked(output: Path, made: ir.Model) -> int:
    """How many stored tensors lie in the file with the type and shape they have in `made`, and none besides.

    Raises:
        InvalidOutputError: The file is invalid, or has others; it was removed.
    """
    try:
        onnx.checker.check_model(str(output))
        written, planned = _stored(models.load(output)), _stored(made)
    except (onnx.checker.ValidationError, ModelRejectedError) as error:
        output.unlink(missing_ok=True)
        said = error.what if isinstance(error, ModelRejectedError) else " ".join(str(error).split())[:200]
        raise InvalidOutputError(f"the quantized model is invalid: {said}", where=str(output)) from error
    wrong = sorted({name for name, _ in written.items() ^ planned.items()})
    if wrong:
        output.unlink(missing_ok=True)
        raise InvalidOutputError(f"tensors differ from the plan, {wrong[0]!r} first", where=str(output))
    return len(written)


def _stored(model: ir.Model) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Type and shape of every initializer, by its name; bodies of control flow included."""
    return {
        str(name): (value.const_value.dtype.name, tuple(value.const_value.shape.numpy()))
        for graph in model.graphs()
        for name, value in graph.initializers.items()
        if value.const_value is not None
    }
