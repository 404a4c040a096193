"""network -> ONNX file that agrees with it at every size it claims to take, or no file.

The exporters form a ladder: dynamo, then legacy (for Hugging Face folders optimum first). Each attempt is compared with
torch on batches that the exporter never saw; the first that agrees wins, and every refusal is kept apart, because
"export failed" sends people from one exporter to the other and back.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from deploycompress import model as onnx_file
from deploycompress.errors import (
    DeployCompressError,
    EnvironmentLacksError,
    InputRejectedError,
    UnsupportedError,
    UsageError,
)
from deploycompress.records.signature import Signature
from deploycompress.training import exporters, huggingface, parity
from deploycompress.training import source as sources
from deploycompress.training.parity import FixedSizeError, Parity, ParityError, Reference
from deploycompress.training.quantizing.emit import emit
from deploycompress.training.quantizing.layers import plain, quantized_layers
from deploycompress.training.quiet import quiet
from deploycompress.training.source import Source

Exporter = Literal["auto", "dynamo", "legacy", "optimum"]


@dataclass(frozen=True)
class Attempt:
    """One exporter's try: `error` is None where it won; `said` is what it would have printed."""

    exporter: str
    error: str | None
    said: tuple[str, ...]


@dataclass(frozen=True)
class ExportResult:
    """An ONNX file that agrees with torch.

    Attributes:
        output: The file.
        exporter: The exporter that wrote it.
        opset: Of the standard domain.
        size_bytes: Of the file and its external data.
        signature: Inputs and outputs.
        dynamic_batch: Whether any batch size may be fed; compared at the sizes in `parity`.
        parity: How closely it agrees.
        frozen: Where Python decisions were fixed to the example's path, from the tracer's own warnings.
        attempts: Every exporter tried, in order.
    """

    output: Path
    exporter: str
    opset: int
    size_bytes: int
    signature: Signature
    dynamic_batch: bool
    parity: Parity
    frozen: tuple[str, ...]
    attempts: tuple[Attempt, ...]

    def summary(self) -> str:
        """The result in one line."""
        batch = "any batch" if self.dynamic_batch else "fixed batch"
        return (
            f"{self.output.name}: {self.size_bytes:,} bytes, {self.exporter} exporter, opset {self.opset}, {batch}, "
            f"max |onnx - torch| = {self.parity.max_abs:.1e} over {len(self.parity.sizes)} shapes"
        )


def export(
    source: str,
    output: Path,
    *,
    checkpoint: Path | None = None,
    trust: bool = False,
    opset: int | None = None,
    max_opset: int | None = None,
    exporter: Exporter = "auto",
    dynamic_batch: bool = True,
    inputs: Sequence[str] = (),
    base: Path | None = None,
) -> ExportResult:
    """Exports in eval mode and proves the file against torch; the module's training state is restored.

    Args:
        source: `module:factory`, `.pt2` file, checkpoint folder, or `hf:org/name`.
        output: The ONNX file to write.
        checkpoint: Weights for a factory.
        trust: Allow a pickled checkpoint to run its code.
        opset: Opset to export with; 18 (dynamo) or 17 (legacy) by default. The file is stamped with the smallest
            opset that means the same.
        max_opset: Highest opset the target takes.
        exporter: One exporter instead of the ladder.
        dynamic_batch: Whether every batch size is to be taken.
        inputs: `name=dtype[sizes]`, one per input, in place of the network's own example.
        base: Folder that references and relative sources are looked up from.

    Raises:
        UsageError: The source, an input or the exporter is named wrongly.
        UnsupportedError: The opset is above what the target takes.
        CheckpointRejectedError: A checkpoint is damaged, does not fit, or would run code.
        InputRejectedError: No exporter took the network, or its batch is fixed; the message keeps each reason apart.
    """
    if opset is not None and max_opset is not None and opset > max_opset:
        raise UnsupportedError(
            f"opset {opset} is above the target's {max_opset}", remedy=f"export with --opset {max_opset}"
        )
    loaded = sources.load(
        source, checkpoint_path=checkpoint, trust=trust, specs=inputs, dynamic_batch=dynamic_batch, base=base
    )
    ceiling = opset or max_opset
    attempts: list[Attempt] = []
    with _evaluating(loaded.module), _scratch(output) as folder:
        expected = _expected(loaded, source)
        for name, write in _ladder(loaded, exporter, len(expected[0].outputs), opset, ceiling):
            draft = folder / name / output.name
            agreement, attempt = _attempt(name, write, draft, loaded, expected, ceiling)
            attempts.append(attempt)
            if agreement is not None:
                return _finished(draft, output, agreement, attempts)
    reasons = "; ".join(f"{attempt.exporter}: {attempt.error}" for attempt in attempts)
    raise InputRejectedError(
        f"no exporter gives a file that agrees with torch ({reasons})",
        where=source,
        remedy="--static-batch exports for the batch of the example alone" if dynamic_batch else "",
    )


Write = Callable[[Path], None]


def _ladder(
    loaded: Source, exporter: Exporter, outputs: int, opset: int | None, ceiling: int | None
) -> tuple[tuple[str, Write], ...]:
    """The exporters to try, each as a function of the path to write; an opset above `ceiling` is of no use."""
    names = loaded.output_names or (("logits",) if outputs == 1 else tuple(f"output_{n}" for n in range(outputs)))
    module = plain(loaded.module) if quantized_layers(loaded.module) else loaded.module
    converted = loaded.program or module
    modern, old = (opset or min(usual, ceiling or usual) for usual in (exporters.DYNAMO_OPSET, exporters.LEGACY_OPSET))
    rungs: dict[str, Write] = {
        "dynamo": lambda path: exporters.dynamo(converted, loaded.inputs, names, path, modern),
    }
    if loaded.program is None:
        rungs["legacy"] = lambda path: exporters.legacy(module, loaded.inputs, names, path, old)
    folder = loaded.folder
    if folder is not None:
        rungs = {"optimum": lambda path: huggingface.optimum_export(folder, path, modern, loaded.inputs), **rungs}
    if exporter == "auto":
        return tuple(rungs.items())
    if exporter not in rungs:
        raise UsageError(f"the {exporter} exporter does not take a {loaded.kind}", remedy=f"use {' or '.join(rungs)}")
    return ((exporter, rungs[exporter]),)


def _expected(loaded: Source, source: str) -> list[Reference]:
    """What torch gives at every size to try."""
    try:
        return parity.references(loaded.module, loaded.inputs)
    except FixedSizeError as error:
        raise InputRejectedError(
            str(error), where=source, remedy="let forward take any batch, or --static-batch"
        ) from error
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        raise InputRejectedError(
            f"forward fails on the example: {type(error).__name__}: {first}", where=source
        ) from error


def _attempt(
    name: str, write: Write, draft: Path, loaded: Source, expected: Sequence[Reference], ceiling: int | None
) -> tuple[Parity | None, Attempt]:
    """Exports to `draft`, takes the exporter's notes about this machine out of it, and compares it with torch.

    Layers that were trained with fake quantization get the codes they were trained with.
    """
    draft.parent.mkdir()
    layers = quantized_layers(loaded.module)
    said: list[str] = []
    try:
        with quiet() as said, torch.no_grad():
            write(draft)
            cleaned = onnx_file.load(draft)
            exporters.strip_notes(cleaned)
            onnx_file.save(emit(cleaned, layers) if layers else cleaned, draft)
        opset = onnx_file.load(draft).opset_imports[""]
        if ceiling is not None and opset > ceiling:
            raise ParityError(f"it needs opset {opset}, above {ceiling}")
        rounds = any(layer.input_quantizer is not None for layer in layers.values())
        agreement = parity.compare(draft, loaded.inputs, expected, loaded.output_names, rounds=rounds)
        return agreement, Attempt(name, None, tuple(said))
    except ParityError as error:
        return None, Attempt(name, str(error), tuple(said))
    except DeployCompressError as error:
        return None, Attempt(name, error.what, tuple(said))
    except Exception as error:  # noqa: BLE001 - an exporter fails in any way; each reason is kept and shown
        return None, Attempt(name, exporters.cause(error), tuple(said))


def _finished(draft: Path, output: Path, agreement: Parity, attempts: Sequence[Attempt]) -> ExportResult:
    """Puts the draft in its place, atomically."""
    finished = onnx_file.load(draft)
    onnx_file.save(finished, output)
    signature = onnx_file.signature(finished)
    return ExportResult(
        output=output,
        exporter=attempts[-1].exporter,
        opset=int(finished.opset_imports[""]),
        size_bytes=sum(file.stat().st_size for file in draft.parent.iterdir()),
        signature=signature,
        dynamic_batch=all(spec.has_dynamic_batch for spec in signature.inputs),
        parity=agreement,
        frozen=tuple(line for line in attempts[-1].said if line.startswith("TracerWarning")),
        attempts=tuple(attempts),
    )


@contextlib.contextmanager
def _scratch(output: Path) -> Iterator[Path]:
    """A folder beside `output` for drafts, removed afterwards."""
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(prefix=".export-", dir=output.parent)
    except OSError as error:
        raise EnvironmentLacksError(f"its folder cannot be written: {error.strerror}", where=str(output)) from error
    with folder as path:
        yield Path(path)


@contextlib.contextmanager
def _evaluating(module: torch.nn.Module) -> Iterator[None]:
    """Puts every submodule in eval mode and back into the mode it was in."""
    before = [(part, part.training) for part in module.modules()]
    for part, _ in before:
        part.training = False
    try:
        yield
    finally:
        for part, training in before:
            part.training = training
