"""ONNX file -> the same graph with zeros among its weights, where the least is lost: smaller when packed, not faster.

open -> exact rewrites -> scores from weights or samples -> zeros, what is left refitted (SparseGPT) -> save -> run the
file: fidelity, accuracy, bytes as stored and as packed for a download. Dense kernels multiply by zeros like by anything
else; N:M is a form that some accelerators skip, ONNX Runtime's kernels on a CPU do not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

from deploycompress import model as models
from deploycompress.calibration import LayerInput, collect
from deploycompress.calibration.gram import Gram
from deploycompress.errors import UnknownNameError, UnsupportedError, UsageError
from deploycompress.flow.given import Given, receive
from deploycompress.flow.held_out import Part, shared_out
from deploycompress.flow.rewritten import rewritten
from deploycompress.flow.selection import nodes_named
from deploycompress.flow.source import check_output
from deploycompress.flow.written import ComparedOn, accuracy, compared_on, opened
from deploycompress.measurement.fidelity import FidelityMeter
from deploycompress.measurement.size import size
from deploycompress.passes import graph as g
from deploycompress.passes.pipelines import for_target
from deploycompress.pruning import sparse
from deploycompress.pruning.consumers import as_matrix, as_weight, feature_axis
from deploycompress.pruning.mending import ROWS_OF_A_FEED
from deploycompress.pruning.sparse import FROM_SAMPLES, METHODS, Matrix, Pattern
from deploycompress.quantization.candidates import key
from deploycompress.records.measured import Accuracy, Fidelity, ModelSize
from deploycompress.records.progress import Track, silent
from deploycompress.targets import Target

_GRAM_BYTES = 2 << 30


@dataclass(frozen=True)
class SparseRow:
    """What became of one layer.

    Attributes:
        layer: Name of its output.
        elements: Of its weight.
        zeros: How many of them are zero now.
        reason: Why it stays dense; "" where it does not.
    """

    layer: str
    elements: int
    zeros: int
    reason: str


@dataclass(frozen=True)
class SparsifyResult:
    """What `sparsify` did and what it cost.

    Attributes:
        source: The model as given.
        output: The model written.
        target: Name of the target.
        method: What decided.
        pattern: The zeros that were asked for.
        rewrites: Exact rewrites applied first.
        layers: Every layer with weights.
        size_before: Bytes of the source, stored and packed.
        size_after: Of the output.
        samples: Samples that decided.
        fidelity: Outputs against the source.
        compared_on: What the two were run on.
        accuracy: The metric on evaluation samples, with its paired drop; None where none were given.
        notes: What the figures do not say by themselves.
    """

    source: Path
    output: Path
    target: str
    method: str
    pattern: str
    rewrites: tuple[str, ...]
    layers: tuple[SparseRow, ...]
    size_before: ModelSize
    size_after: ModelSize
    samples: int
    fidelity: Fidelity
    compared_on: ComparedOn
    accuracy: Accuracy | None
    notes: tuple[str, ...]

    @property
    def zeros(self) -> float:
        """Share of zeros among the weights of all layers."""
        return sum(row.zeros for row in self.layers) / (sum(row.elements for row in self.layers) or 1)


def sparsify(
    source: Path,
    output: Path,
    *,
    target: Target,
    pattern: Pattern,
    method: str | None = None,
    calib: str | None = None,
    preprocess: str | None = None,
    tokenizer: Path | None = None,
    limit: int | None = None,
    exclude: Sequence[str] = (),
    eval_data: str | None = None,
    labels: Path | None = None,
    accept_data: bool = False,
    track: Track = silent,
) -> SparsifyResult:
    """Makes weights of `source` zero.

    Args:
        source: A float ONNX file.
        output: Where to write; never `source`.
        target: The device; decides the exact rewrites.
        pattern: Which zeros are wanted.
        method: What decides; by default `sparsegpt` with samples and `magnitude` without.
        calib: Samples (see `data.open`) that the methods `FROM_SAMPLES` need.
        preprocess: How images become inputs.
        tokenizer: Tokenizer file for text samples.
        limit: At most so many samples.
        exclude: Globs over node and tensor names of layers that stay dense.
        eval_data: Other samples, with labels, that accuracy is measured on.
        labels: File of labels, where `eval_data` does not hold them.
        accept_data: Use samples that the data doctor rejects.
        track: Shows progress.

    Raises:
        UsageError: The pattern makes no sense, samples are missing, or the output is the input.
        UnknownNameError: An `exclude` pattern matches nothing.
        UnsupportedError: No layer can take the pattern, or the method does not know it.
        ModelRejectedError: The source is unusable or quantized already.
        DataRejectedError: No sample is usable, or the data doctor rejects them.
        InvalidOutputError: What was made does not run; nothing is left.
    """
    method = method or ("magnitude" if calib is None else "sparsegpt")
    _check(pattern, method, calib)
    check_output(source, output)
    given = receive(
        source,
        calib=calib,
        calibration=None,
        target=target,
        preprocess=preprocess,
        tokenizer=tokenizer,
        limit=limit,
        exclude=exclude,
        calibrates=calib is not None,
        accept_data=accept_data,
        track=track,
    )
    floats, rewrites = rewritten(given, for_target(target))
    fit, held_out, notes = shared_out(given.samples)
    if method in FROM_SAMPLES and fit is None:
        raise UsageError(notes[0], where=f"--calib {calib}", remedy="give more samples, or another method")
    after = floats.clone()
    nodes, refused = _layers(after, nodes_named(given.model, floats, given.excluded), pattern)
    if not nodes:
        reasons = "; ".join(dict.fromkeys(row.reason for row in refused))
        raise UnsupportedError(f"no layer can have {pattern.called} zeros ({reasons or 'it has no weights'})")
    moments = _moments(floats, nodes, fit, given, track) if method in FROM_SAMPLES and fit is not None else {}
    rows = [*_written(after, nodes, pattern, method, moments), *refused]
    models.save(after, output, track=track)
    written = opened(output, given, "sparse")
    meter = FidelityMeter()
    for feed in held_out or given.feeds:
        meter.add(given.original.run(feed), written.run(feed))
    judged = None
    if eval_data is not None:
        judged = accuracy(
            given, written, eval_data, labels=labels, preprocess=preprocess, tokenizer=tokenizer, track=track
        )
    return SparsifyResult(
        source=source,
        output=output,
        target=target.name,
        method=method,
        pattern=pattern.called,
        rewrites=rewrites,
        layers=tuple(rows),
        size_before=size(source, models.data_files(source)),
        size_after=size(output, models.data_files(output)),
        samples=0 if fit is None else len(fit),
        fidelity=meter.result(),
        compared_on=compared_on(given, has_held_out=held_out is not None),
        accuracy=judged,
        notes=(*notes, *given.admitted, _gain(pattern)),
    )


def _check(pattern: Pattern, method: str, calib: str | None) -> None:
    if method not in METHODS:
        raise UnknownNameError("score of single weights", method, METHODS)
    if pattern.share is not None and not 0 < pattern.share < 1:
        raise UsageError(f"the share of zeros must lie between 0 and 1, not {pattern.share:g}")
    if pattern.share is None and not 0 < pattern.kept < pattern.of:
        raise UsageError(f"{pattern.called} keeps no part of a group of weights", remedy="2:4 keeps 2 of every 4")
    if pattern.share is None and method == "lamp":
        raise UsageError("lamp shares zeros out over layers, N:M has as many in each", remedy="use wanda or sparsegpt")
    if method in FROM_SAMPLES and calib is None:
        raise UsageError(f"the method {method} needs samples", remedy="give --calib DIR, or use magnitude")


def _gain(pattern: Pattern) -> str:
    where = "" if pattern.share is not None else " (accelerators with sparse kernels for this pattern may be faster)"
    return f"zeros make no dense kernel faster: what they save is the size of the packed file{where}"


def _layers(
    model: ir.Model, excluded: frozenset[str], pattern: Pattern
) -> tuple[dict[ir.Node, LayerInput], list[SparseRow]]:
    """Layers that get zeros, with what they multiply, and rows of those that do not."""
    found, refused = {}, []
    for node in model.graph:
        weight = g.input_at(node, 1)
        if not g.is_op(node, "Conv", "Gemm", "MatMul") or weight is None or g.constant(weight) is None:
            continue
        rows = LayerInput.of(node)
        why = _stays(node, rows, excluded, pattern)
        if why or rows is None:
            elements = g.constant(weight)
            refused.append(SparseRow(g.label(node), 0 if elements is None else elements.size, 0, why))
        else:
            found[node] = rows
    return found, refused


def _stays(node: ir.Node, rows: LayerInput | None, excluded: frozenset[str], pattern: Pattern) -> str:
    """Why a layer keeps all of its weights, or ""."""
    source = node.inputs[0]
    if key(node) in excluded:
        return "it was excluded"
    if feature_axis(node) is None or rows is None:
        return "it works in groups, or its weight is read elsewhere too"
    if source is not None and source.is_graph_input():
        return "it reads what the model is fed"
    if node.outputs[0].is_graph_output():
        return "it gives what the model gives"
    if pattern.share is None and rows.features % pattern.of:
        return f"its {rows.features} features are no multiple of {pattern.of}"
    return ""


def _moments(
    floats: ir.Model, nodes: Mapping[ir.Node, LayerInput], fit: Part, given: Given, track: Track
) -> Mapping[LayerInput, Gram]:
    found = collect(
        floats,
        [],
        fit,
        weights_dir=models.weights_dir(floats),
        config=given.config,
        grams=list(dict.fromkeys(nodes.values())),
        memory_bytes=_GRAM_BYTES,
        gram_rows=ROWS_OF_A_FEED,
        track=track,
    )
    return found.grams


def _written(
    model: ir.Model,
    nodes: Mapping[ir.Node, LayerInput],
    pattern: Pattern,
    method: str,
    moments: Mapping[LayerInput, Gram],
) -> list[SparseRow]:
    """Writes zeros into the layers of `model`."""
    weights = {node: as_matrix(node, g.array(node.inputs[1])) for node in nodes}
    together = sparse.lamp(list(weights.values()), pattern.zeros) if method == "lamp" else []
    made = dict(zip(weights, together, strict=False))
    rows = []
    for node, matrix in weights.items():
        found = made[node] if method == "lamp" else _sparse(matrix, pattern, method, moments.get(nodes[node]))
        data = g.array(node.inputs[1])
        assert data is not None
        new = as_weight(node, found, data)
        g.set_weight(model, node, 1, f"{g.label(node)}_weight", new)
        rows.append(SparseRow(g.label(node), new.size, int(np.count_nonzero(new == 0)), ""))
    return rows


def _sparse(matrix: Matrix, pattern: Pattern, method: str, gram: Gram | None) -> Matrix:
    if gram is None:
        return sparse.magnitude(matrix, pattern)
    products = gram.products[0] / gram.count
    return sparse.wanda(matrix, pattern, products) if method == "wanda" else sparse.sparsegpt(matrix, pattern, products)
